from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from medgraph.alignment.heads.infonce import InfoNCEHead, info_nce
from medgraph.alignment.losses import same_content


def test_loss_is_its_formula(make_input):
    nodes = make_input(num_nodes=5, texts=("answer",))
    image, text = (F.normalize(graph.pooled.detach(), dim=-1) for graph in nodes.graphs().values())
    scores = (image @ text.T / 0.5).exp()
    expected = -sum(
        0.5 * math.log(scores[i, i] / scores[i].sum()) + 0.5 * math.log(scores[i, i] / scores[:, i].sum())
        for i in range(5)
    )
    loss = InfoNCEHead(temperature=0.5, center=False)(nodes).loss
    assert loss.item() == pytest.approx(expected / 5, rel=1e-5)


def test_duplicates_are_not_negatives():
    logits = torch.randn(4, 4)
    same = same_content(4, torch.tensor([0, 0, 1, 2]))
    kept = [j for j in range(4) if j != 1]
    row = -F.log_softmax(logits[0, kept], dim=0)[0]
    unique = torch.stack(
        [
            F.cross_entropy(
                logits[i : i + 1].masked_fill(same[i] & (torch.arange(4) != i), -torch.inf), torch.tensor([i])
            )
            for i in range(4)
        ]
    )
    assert unique[0].item() == pytest.approx(row.item(), rel=1e-5)
    assert info_nce(logits, same, symmetric=False).item() == pytest.approx(unique.mean().item(), rel=1e-5)


def test_one_sided_loss_ignores_the_columns():
    logits = torch.randn(3, 3)
    same = same_content(3)
    assert info_nce(logits, same, symmetric=False).item() == pytest.approx(
        F.cross_entropy(logits, torch.arange(3)).item()
    )
    assert torch.allclose(info_nce(logits, same), info_nce(logits.T, same))


def test_a_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature=0"):
        InfoNCEHead(temperature=0)
