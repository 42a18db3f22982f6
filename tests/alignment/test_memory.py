from __future__ import annotations

import pytest
import torch

from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.alignment.heads.infonce import InfoNCEHead
from medgraph.alignment.memory import NodeMemory


def batches(count, size=4, dim=8, ids=True):
    """Micro-batches whose nodes come from one trained matrix, as those of a model do."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(count, 3, size, dim, generator=generator)
    content = torch.arange(count * size).view(count, size) if ids else [None] * count
    weight = torch.randn(dim, dim, generator=generator).requires_grad_()

    def make(number) -> AlignmentInput:
        image, answer, extended = (NodeSet(view @ weight, ids=content[number]) for view in raw[number])
        codes = {"modality": content[number] % 3} if ids else {}
        return AlignmentInput(image, {"answer": answer, "extended": extended}, None, codes)

    return weight, make


def joint(parts: list[AlignmentInput]) -> AlignmentInput:
    def cat(name) -> NodeSet:
        graphs = [part.graphs()[name] for part in parts]
        return NodeSet(torch.cat([g.pooled for g in graphs]), ids=torch.cat([g.ids for g in graphs]))

    return AlignmentInput(cat("image"), {name: cat(name) for name in parts[0].texts})


def build(name):
    torch.manual_seed(0)
    head = InfoNCEHead() if name == "infonce" else ExGraHead(noise=0.0, num_samples=1)
    head.setup(8)
    return head


@pytest.mark.parametrize("name", ["infonce", "exgra"])
def test_with_constant_weights_accumulated_batches_have_the_loss_and_gradient_of_the_joint_batch(name):
    head = build(name)
    weight, make = batches(3)
    expected = head(joint([make(n) for n in (0, 1, 2)]))
    expected.loss.backward()
    gradients = [p.grad.clone() for p in (weight, *head.parameters()) if p.grad is not None]
    weight.grad = None
    head.zero_grad()

    memory = NodeMemory(8)
    for number in (0, 1, 2, 0):  # fill, then every batch meets the two others
        memory.extend(make(number))
    for number in (1, 2, 0):
        output = head(memory.extend(make(number)))
        torch.testing.assert_close(output.loss, expected.loss)
        (output.loss / 3).backward()  # as Lightning does when it accumulates
    found = [p.grad for p in (weight, *head.parameters()) if p.grad is not None]
    for a, b in zip(found, gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_newest_nodes_are_kept_and_only_new_ones_have_a_gradient():
    _, make = batches(3)
    memory = NodeMemory(6)
    joined = [memory.extend(make(n)) for n in range(3)][-1]
    assert joined.image.ids.tolist() == [8, 9, 10, 11, 4, 5, 6, 7, 0, 1]
    assert joined.entities["modality"].tolist() == [i % 3 for i in joined.image.ids.tolist()]
    for graph in joined.graphs().values():
        graph.pooled.retain_grad()
    torch.testing.assert_close(joined.image.pooled[:4], make(2).image.pooled)
    assert memory.past is not None
    assert not memory.past.image.pooled.requires_grad


def test_a_sample_that_comes_again_is_no_negative_of_itself():
    head = build("infonce")
    losses = []
    for ids in (True, False):
        _, make = batches(1, size=1, ids=ids)
        memory = NodeMemory(4)
        memory.extend(make(0))
        losses.append(head(memory.extend(make(0))).loss.item())
    assert losses[0] == 0
    assert losses[1] > 0.5


def test_exgra_counts_a_match_with_an_older_copy_as_right():
    _, make = batches(1)
    nodes = make(0)
    for text in nodes.texts.values():
        text.pooled = nodes.image.pooled
    memory = NodeMemory(4)
    memory.extend(nodes)
    assert build("exgra")(memory.extend(nodes)).loss.item() == 0


def test_graphs_of_the_batch_size_do_not_meet_the_memory():
    """With graph_size the loss is cut into graphs in order; those of old nodes only send no gradient."""
    head = ExGraHead(noise=0.0, num_samples=1, graph_size=4)
    head.setup(8)
    weight, make = batches(2)
    head(make(1)).loss.backward()
    alone = weight.grad.clone()
    weight.grad = None
    memory = NodeMemory(4)
    memory.extend(make(0))
    head(memory.extend(make(1))).loss.backward()
    torch.testing.assert_close(weight.grad, alone)


def test_state_continues_where_it_was():
    _, make = batches(3)
    memory, resumed = NodeMemory(6), NodeMemory(6)
    resumed.load_state_dict(memory.state_dict())
    assert resumed.past is None
    for number in range(2):
        memory.extend(make(number))
    resumed.load_state_dict(memory.state_dict())
    first, second = memory.extend(make(2)), resumed.extend(make(2))
    for name, graph in first.graphs().items():
        assert torch.equal(graph.pooled, second.graphs()[name].pooled)
        assert torch.equal(graph.ids, second.graphs()[name].ids)
    assert torch.equal(first.entities["modality"], second.entities["modality"])


def test_size_0_leaves_batches_alone():
    _, make = batches(1)
    memory, nodes = NodeMemory(0), make(0)
    assert memory.extend(nodes) is nodes
    assert memory.extend(nodes) is nodes
    assert memory.state_dict() == {}
