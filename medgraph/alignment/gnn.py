"""The graph encoder: two message-passing layers that let every node see its neighbourhood before matching.

Letters: G graphs, B nodes, K neighbours, D width.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medgraph.alignment.graph import edge_index

Layer = Literal["gcn", "graph_max", "graph_mean", "gat", "edge"]
LAYERS: tuple[str, ...] = get_args(Layer)


def build_layer(layer: Layer, dim: int) -> nn.Module:
    """Make one torch_geometric layer of width ``dim`` → ``dim``.

    GCN is the dense layer: on graphs of one batch it equals ``GCNConv`` and is several times faster.

    Raises:
        ValueError: if the layer is unknown.
    """
    from torch_geometric.nn import DenseGCNConv, EdgeConv, GATConv, GraphConv  # slow to import

    if layer == "gcn":
        return DenseGCNConv(dim, dim)
    if layer == "graph_max":
        return GraphConv(dim, dim, aggr="max")
    if layer == "graph_mean":
        return GraphConv(dim, dim, aggr="mean")
    if layer == "gat":
        return GATConv(dim, dim)
    if layer == "edge":
        return EdgeConv(nn.Linear(2 * dim, dim))
    raise ValueError(f"unknown graph layer {layer!r}; choose one of {', '.join(LAYERS)}")


class GraphEncoder(nn.Module):
    r"""Two graph convolutions with a ReLU between them, shared by all graphs.

    .. math:: \hat x = [x +]\; f_2(\mathrm{ReLU}(f_1(x)))

    LVM-Med (arXiv:2306.11925, Eq. 1) uses GCN layers; the released ExGra-Med uses ``graph_max`` with a ReLU and
    dropout after the second layer too and lets messages flow from a node to those it lists (``reverse``).

    Args:
        dim: node width D, kept by both layers.
        layer: kind of convolution.
        residual: add the input to the output, so that an untrained encoder does not hide what nodes already say.
        final_relu: a ReLU after the second layer as well; makes all cosines non-negative.
        dropout: share of outputs zeroed in training, in [0, 1).
        reverse: nodes receive from those that list them as a neighbour, not from those they list.
    """

    def __init__(
        self,
        dim: int,
        layer: Layer = "gcn",
        residual: bool = True,
        final_relu: bool = False,
        dropout: float = 0.0,
        reverse: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} is outside [0, 1)")
        self.dense = layer == "gcn"
        self.first = build_layer(layer, dim)
        self.second = build_layer(layer, dim)
        self.residual = residual
        self.final_relu = final_relu
        self.dropout = dropout
        self.reverse = reverse

    def forward(self, nodes: Tensor, neighbors: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode G graphs at once.

        Args:
            nodes: (G, B, D) float.
            neighbors: (G, B, K) int64, the neighbour lists of :func:`medgraph.alignment.graph.knn`.
            generator: source of the dropout mask, on the CPU.

        Returns:
            (G, B, D) float.
        """
        if self.dense:
            edges = torch.zeros(*neighbors.shape[:2], neighbors.shape[1], device=nodes.device, dtype=nodes.dtype)
            edges.scatter_(2, neighbors, 1.0)
            edges = edges.transpose(1, 2) if self.reverse else edges
            x = nodes
        else:
            edges = edge_index(neighbors)
            edges = edges.flip(0) if self.reverse else edges
            x = nodes.flatten(0, 1)
        out = self.second(self.first(x, edges).relu(), edges)
        if self.final_relu:
            out = out.relu()
        if self.training and self.dropout:
            keep = torch.rand(out.shape, generator=generator).to(out.device) >= self.dropout
            out = out * keep / (1 - self.dropout)
        return (x + out if self.residual else out).view_as(nodes)
