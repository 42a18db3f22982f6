from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medgraph.alignment.heads.medslip import MeDSLIPHead


@pytest.fixture
def head() -> MeDSLIPHead:
    torch.manual_seed(0)
    head = MeDSLIPHead(width=6)
    head.setup(8)
    return head


def test_loss_is_the_sum_written_as_loops(head, make_input):
    """All prototypes that are not linked fit among the negatives, so that nothing is drawn."""
    nodes = make_input(num_nodes=6, texts=("answer",))
    codes = {"anatomy": [5, 5, 7, 7, 9, -1], "finding": [0, 1, 0, 2, 2, 1]}
    nodes.entities = {"area": torch.tensor(codes["anatomy"]), "label": torch.tensor(codes["finding"])}
    image, text = (
        {kind: F.normalize(head.streams[kind](graph.pooled), dim=-1) for kind in codes}
        for graph in (nodes.image, nodes.texts["answer"])
    )
    linked = {(a, f) for a, f in zip(codes["anatomy"], codes["finding"], strict=True) if a >= 0}
    concepts = {kind: sorted({code for code in values if code >= 0}) for kind, values in codes.items()}
    centres = {
        kind: {
            c: F.normalize(sum(text[kind][i] for i in range(6) if codes[kind][i] == c), dim=0) for c in concepts[kind]
        }
        for kind in codes
    }

    def bce(cosine: torch.Tensor, target: bool) -> torch.Tensor:
        return -F.logsigmoid(cosine / 0.3 if target else -cosine / 0.3)

    existence, prototype = [], []
    for kind, other in (("anatomy", "finding"), ("finding", "anatomy")):
        known = [i for i in range(6) if codes[kind][i] >= 0]
        existence.append(
            torch.stack(
                [bce(image[kind][i] @ centres[kind][c], codes[kind][i] == c) for i in known for c in concepts[kind]]
            ).mean()
        )
        losses = []
        for i in known:
            query = F.normalize(head.crossings[kind](image[kind][i]), dim=0)
            pairs = {c: (codes[kind][i], c) if kind == "anatomy" else (c, codes[kind][i]) for c in concepts[other]}
            own = [c for c in concepts[other] if pairs[c] in linked]
            right = F.normalize(sum(centres[other][c] for c in own), dim=0)
            logits = [query @ right, *(query @ centres[other][c] for c in concepts[other] if c not in own)]
            losses.append(-(torch.stack(logits) / 0.3).log_softmax(0)[0])
        prototype.append(torch.stack(losses).mean())
    link = [
        bce(image["finding"][i] @ image["anatomy"][j], (codes["anatomy"][j], codes["finding"][i]) in linked)
        for i in range(6)
        for j in range(5)
    ]
    expected = sum(existence) / 2 + sum(prototype) / 2 + torch.stack(link).mean()
    torch.testing.assert_close(head(nodes).loss, expected)


def test_unknown_samples_change_nothing_but_their_own_place(head, make_input):
    nodes = make_input(num_nodes=5, texts=("answer",))
    nodes.entities = {name: torch.tensor([0, 1, 2, 1, -1]) for name in ("area", "label")}
    loss = head(nodes).loss
    nodes.image.pooled = torch.cat([nodes.image.pooled[:4], 9 * nodes.image.pooled[4:]]).detach()
    nodes.texts["answer"].pooled = torch.cat(
        [nodes.texts["answer"].pooled[:4], -nodes.texts["answer"].pooled[4:]]
    ).detach()
    torch.testing.assert_close(head(nodes).loss, loss)


def test_missing_entities_are_named(head, make_input):
    with pytest.raises(ValueError, match=r"know the area of the samples.*not among the entities.*entities: none"):
        head(make_input())
    nodes = make_input(entities=True)
    nodes.entities["label"] = torch.full((6,), -1)
    with pytest.raises(ValueError, match="know the label of the samples, and it is unknown for all 6 samples"):
        head(nodes)


def test_a_later_batch_without_known_entities_has_no_loss(head, make_input):
    nodes = make_input(entities=True)
    head(nodes)
    nodes.entities = {name: torch.full((6,), -1) for name in nodes.entities}
    loss = head(nodes).loss
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad.abs().sum() == 0 for parameter in head.parameters())


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"width": 0}, {"num_negatives": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MeDSLIPHead(**options)
