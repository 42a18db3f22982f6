"""Heads that add the structure of the batch to InfoNCE."""

from __future__ import annotations

import pytest
import torch

from medgraph.alignment.graph import standardize
from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.heads.consensus import ConsensusHead
from medgraph.alignment.heads.factors import FactorsHead
from medgraph.alignment.heads.infonce import InfoNCEHead, info_nce
from medgraph.alignment.heads.relational import RelationalHead


def test_without_weight_they_are_infonce(make_input):
    expected = InfoNCEHead()(make_input()).loss
    for head in (ConsensusHead(weight=0), RelationalHead(weight=0), FactorsHead(softness=0)):
        nodes = make_input()
        nodes.entities = {"area": torch.arange(6)}
        torch.testing.assert_close(head(nodes).loss, expected)


def test_consensus_averages_the_scores_of_neighbouring_pairs(make_input):
    nodes = make_input(num_nodes=7, texts=("answer",))
    image, text = (standardize(graph.pooled).detach() for graph in nodes.graphs().values())
    cosines = image @ text.T
    near = [
        [sorted((j for j in range(7) if j != i), key=lambda j: float((x[i] - x[j]).norm()))[:3] for i in range(7)]
        for x in (image, text)
    ]
    slow = cosines.clone()
    for i in range(7):
        for j in range(7):
            slow[i, j] += 0.5 * sum(cosines[a, b] for a in near[0][i] for b in near[1][j]) / 9
    expected = info_nce(slow / 0.1, torch.eye(7, dtype=torch.bool))
    torch.testing.assert_close(ConsensusHead(k=3, weight=0.5)(nodes).loss.detach(), expected)


@pytest.mark.parametrize("structure", ["gromov_wasserstein", "kl", "cka"])
def test_equal_structure_costs_nothing_and_ignores_rotations(structure):
    generator = torch.Generator().manual_seed(0)
    x = standardize(torch.randn(8, 5, generator=generator))
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
    head = RelationalHead(structure)
    rotated = x @ rotation
    same = head.difference(x @ x.T, rotated @ rotated.T)
    torch.testing.assert_close(same, torch.tensor(0.0), atol=1e-5, rtol=0)
    other = standardize(torch.randn(8, 5, generator=generator))
    assert head.difference(x @ x.T, other @ other.T) > 0.01


@pytest.mark.parametrize("structure", ["gromov_wasserstein", "kl", "cka"])
def test_the_text_is_the_teacher(structure, make_input):
    """The structure term adds no gradient to the texts."""
    gradients = []
    for weight in (0.0, 10.0):
        nodes = make_input()
        RelationalHead(structure, weight=weight)(nodes).loss.backward()
        gradients.append([graph.pooled.grad for graph in nodes.graphs().values()])
    assert not torch.allclose(gradients[0][0], gradients[1][0])
    for plain, structured in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(plain, structured)


def test_factor_targets_are_shares_of_common_entities():
    codes = torch.tensor([[1, 1, 2, -1], [5, 6, 5, -1]])
    target = FactorsHead(softness=0.5).targets(codes)
    expected = torch.tensor([[0.5, 0.25, 0.25, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1.0]])
    torch.testing.assert_close(target, expected)


def test_factors_are_required():
    nodes = AlignmentInput(NodeSet(torch.randn(3, 4)), {"answer": NodeSet(torch.randn(3, 4))})
    with pytest.raises(ValueError, match="needs AlignmentInput"):
        FactorsHead()(nodes)
