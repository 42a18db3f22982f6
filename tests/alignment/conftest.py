from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from medgraph.alignment.graph import knn
from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.matching import CosineEdgeCosts, DenseEdgeCosts, MatchingProblem


@pytest.fixture
def make_problem() -> Callable[..., MatchingProblem]:
    """Random matching problems between k-NN graphs of two noisy copies of the same nodes."""

    def make(
        num_problems=1, num_nodes=5, k=3, seed=0, noise=1.0, dense=True, threshold=None, dtype=torch.float32
    ) -> MatchingProblem:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(num_problems, num_nodes, 8, generator=generator, dtype=dtype)
        y = x + noise * torch.randn(x.shape, generator=generator, dtype=dtype)
        unary = -torch.nn.functional.cosine_similarity(x.unsqueeze(2), y.unsqueeze(1), dim=-1)
        edges: CosineEdgeCosts | DenseEdgeCosts = CosineEdgeCosts(knn(x, k), knn(y, k), x, y, weight=0.5, offset=0.1)
        if dense:
            table = edges.dense()
            jitter = 0.1 * torch.randn(table.costs.shape, generator=generator, dtype=dtype)
            edges = DenseEdgeCosts(table.left, table.right, table.costs + jitter)
        return MatchingProblem(unary, edges, threshold)

    return make


@pytest.fixture
def make_input() -> Callable[..., AlignmentInput]:
    """A batch of nodes: image, answer, extended answer."""

    def make(
        num_nodes=6, dim=8, seed=0, tokens=0, texts=("answer", "extended"), ids=None, scale=1.0, entities=False
    ) -> AlignmentInput:
        generator = torch.Generator().manual_seed(seed)

        def node_set() -> NodeSet:
            pooled = scale * torch.randn(num_nodes, dim, generator=generator)
            words = mask = None
            if tokens:
                words = torch.randn(num_nodes, tokens, dim, generator=generator).requires_grad_()
                mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (num_nodes, 1), generator=generator)
            return NodeSet(pooled.requires_grad_(), words, mask, ids)

        known = {
            name: torch.arange(num_nodes) % (i + 2) for i, name in enumerate(("modality", "area", "task", "label"))
        }
        return AlignmentInput(
            node_set(),
            {name: node_set() for name in texts},
            torch.Generator().manual_seed(seed),
            known if entities else {},
        )

    return make
