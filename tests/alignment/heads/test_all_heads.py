"""What every head promises, whatever it computes."""

from __future__ import annotations

import pytest
import torch

from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.registry import HEADS, head_class
from medgraph.alignment.toy import align_toy_world

NAMES = sorted(HEADS)


def build(name: str, dim: int = 8):
    torch.manual_seed(0)
    head = head_class(name)()
    head.setup(dim)
    return head


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_nodes", [1, 2, 6])
def test_loss_is_finite_and_reaches_every_node_and_parameter(name, num_nodes, make_input):
    head = build(name)
    nodes = make_input(num_nodes=num_nodes, tokens=4, entities=True)
    output = head(nodes)
    assert output.loss.shape == ()
    assert output.loss.dtype == torch.float32
    assert all(term.ndim == 0 and not term.requires_grad for term in output.terms.values())
    output.loss.backward()
    for graph in nodes.graphs().values():
        received = [x.grad for x in (graph.pooled, graph.tokens) if x is not None and x.grad is not None]
        assert received
        assert all(torch.isfinite(gradient).all() for gradient in received)
    for parameter in head.parameters():
        assert not parameter.requires_grad or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_identical_nodes_do_not_break_the_loss(name):
    head = build(name)
    entities = {"area": torch.arange(5) % 2, "label": torch.arange(5) % 3}
    image = NodeSet(torch.ones(5, 8, requires_grad=True))
    nodes = AlignmentInput(image, {"answer": NodeSet(torch.ones(5, 8))}, entities=entities)
    loss = head(nodes).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(nodes.image.pooled.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_nodes_and_autocast_give_a_float32_loss(name, make_input):
    head = build(name)
    nodes = make_input(entities=True)
    half = AlignmentInput(
        NodeSet(nodes.image.pooled.detach().bfloat16()),
        {key: NodeSet(text.pooled.detach().bfloat16()) for key, text in nodes.texts.items()},
        torch.Generator().manual_seed(0),
        nodes.entities,
    )
    full = AlignmentInput(
        NodeSet(half.image.pooled.float()),
        {key: NodeSet(text.pooled.float()) for key, text in half.texts.items()},
        torch.Generator().manual_seed(0),
        nodes.entities,
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(half).loss
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, head(full).loss)


@pytest.mark.parametrize("name", NAMES)
def test_noise_comes_from_the_generator_only(name, make_input):
    head = build(name)
    torch.manual_seed(1)
    first = head(make_input(entities=True)).loss
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(head(make_input(entities=True)).loss, first)
    torch.manual_seed(1)
    head(make_input(entities=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_the_head_aligns_a_toy_world(name):
    assert align_toy_world(head_class(name)(), steps=0).match_accuracy < 0.1
    assert align_toy_world(head_class(name)()).match_accuracy > 0.4  # chance is 0.01


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_round_trip(name, make_input):
    head = build(name)
    copy = head_class(name)(**head.options())
    copy.setup(8)
    copy.load_state_dict(head.state_dict())
    assert torch.equal(copy(make_input(entities=True)).loss, head(make_input(entities=True)).loss)
