"""A memory of nodes: more negatives and larger graphs than one device's batch has room for.

Letters: B nodes of the batch, M remembered nodes, n = B + M, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medgraph.alignment.head import AlignmentInput, NodeSet


class NodeMemory:
    """Joins every batch with the last nodes of the batches before it, for all views alike.

    The head sees one batch of n nodes and its loss counts all of them, so that graph matching and contrastive losses
    need no special form: remembered images are matched and classified like new ones, and where they meet a new text,
    that text learns from it. Remembered nodes themselves have no gradient.

    The gradient of the B new nodes is scaled by n/B. A parameter of the head then has the gradient of the joint loss, a
    new node n/B times that gradient, and the mean over n/B accumulated batches is the gradient of one joint batch, as
    far as the weights have not moved since the nodes were remembered. Without accumulation, a new node weighs as much
    as in a batch of its own. Cf. cross-batch memory, Wang et al., arXiv:1912.06798, whose loss counts new nodes only.

    Args:
        size: how many nodes are remembered, at least 0; 0 leaves batches as they are.

    Example:
        >>> memory = NodeMemory(size=3)
        >>> nodes = AlignmentInput(NodeSet(torch.ones(2, 8)), {"answer": NodeSet(torch.ones(2, 8))})
        >>> [len(memory.extend(nodes).image.pooled) for _ in range(3)]
        [2, 4, 5]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.past: AlignmentInput | None = None

    def extend(self, nodes: AlignmentInput) -> AlignmentInput:
        """Join a batch with what is remembered, and remember the batch.

        Args:
            nodes: B nodes. Equal ``ids`` must mean equal content in all batches: a sample that is still remembered
                when it comes again is then no negative of itself.

        Returns:
            The new nodes first, then the remembered ones, newest batch first; without tokens, which are not remembered.
        """
        if not self.size:
            return nodes
        joined = nodes if self.past is None else _join(nodes, self.past)
        self.past = _first(joined, self.size)
        return joined

    def state_dict(self) -> dict[str, Any]:
        """The remembered nodes for a checkpoint: a resumed run continues with the same batches."""
        if self.past is None:
            return {}
        graphs = {name: {"pooled": graph.pooled, "ids": graph.ids} for name, graph in self.past.graphs().items()}
        return {"graphs": graphs, "entities": dict(self.past.entities)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.past = None
        if state:
            graphs = {name: NodeSet(**fields) for name, fields in state["graphs"].items()}
            self.past = AlignmentInput(graphs.pop("image"), graphs, entities=state["entities"])


def _join(new: AlignmentInput, past: AlignmentInput) -> AlignmentInput:
    scale = 1 + len(past.image.pooled) / len(new.image.pooled)
    old = past.graphs()
    graphs = {name: _join_nodes(graph, old[name], scale) for name, graph in new.graphs().items()}
    entities = {name: _append(codes, past.entities[name]) for name, codes in new.entities.items()}
    return AlignmentInput(graphs.pop("image"), graphs, new.generator, entities)


def _join_nodes(new: NodeSet, past: NodeSet, scale: float) -> NodeSet:
    pooled = _append(new.pooled, past.pooled)
    if pooled.requires_grad:
        pooled.register_hook(lambda gradient: scale * gradient)
    return NodeSet(pooled, ids=None if new.ids is None or past.ids is None else _append(new.ids, past.ids))


def _append(new: Tensor, past: Tensor) -> Tensor:
    return torch.cat([new, past.to(new)])  # .to: a loaded memory is on the CPU


def _first(nodes: AlignmentInput, size: int) -> AlignmentInput:
    """The first nodes of a batch, without tokens, gradient and generator."""
    graphs = {
        name: NodeSet(graph.pooled.detach()[:size].clone(), ids=None if graph.ids is None else graph.ids[:size])
        for name, graph in nodes.graphs().items()
    }
    entities = {name: codes[:size] for name, codes in nodes.entities.items()}
    return AlignmentInput(graphs.pop("image"), graphs, entities=entities)
