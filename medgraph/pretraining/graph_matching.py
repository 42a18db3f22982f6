"""LVM-Med: two views of a batch are two graphs, and the loss counts the nodes that a matching of them gets wrong.

Letters: V views, B images, n nodes of a graph, G = B / n graphs of a view, P = G · pairs of views, C width of the
projection, M cells, D width of the tower.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.clock import time_solves
from medgraph.alignment.diagnostics import cosine_terms
from medgraph.alignment.gnn import GraphEncoder
from medgraph.alignment.graph import knn
from medgraph.alignment.matching import CosineEdgeCosts, MatchingProblem
from medgraph.alignment.matching_loss import MatchingLoss
from medgraph.pretraining.affinities import local_affinity, oriented_boxes
from medgraph.pretraining.losses import EncodedViews, ViewLoss, view_pairs
from medgraph.pretraining.options import MatchingOptions


class GraphMatching(ViewLoss):
    r"""Second-order graph matching of two views (LVM-Med, arXiv:2306.11925, Eq. 1 to 5 and Algorithm 1).

    .. math:: c_{ia} = \alpha \cos(\hat z_i, \hat z_a) + (1 - \alpha)\, \mathrm{lo}(i, a), \qquad
        c_{ef} = \cos(\hat z_i - \hat z_k, \hat z_a - \hat z_b) \text{ for edges } e = (i, k), f = (a, b)

    with :math:`\hat z` behind two GCN layers on the k-NN graph of each view. The matching maximises the perturbed
    affinities; the loss is its Hamming distance to the identity, the gradient that of I-MLE. Deviation: lo is the mean
    over both kinds of partners and both directions (see `medgraph.pretraining.affinities.local_affinity`).

    Args:
        width: C.
        options: see `MatchingOptions`.
    """

    def __init__(self, width: int, options: MatchingOptions) -> None:
        super().__init__()
        self.options = options
        self.graph_encoder = GraphEncoder(width, residual=options.residual) if options.message_passing else None
        self.matching_loss = MatchingLoss(
            gradient=options.gradient, lam=options.lam, noise=options.noise, num_samples=options.num_samples
        )

    def forward(self, views: EncodedViews) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss; its value is the mean Hamming distance, in [0, 2].

        Args:
            views: B a multiple of ``graph_size``.

        Returns:
            Scalar, and ``match_accuracy`` (share of images whose largest cosine behind the GCN is their own),
            ``cos_diag``, ``cos_off`` and ``solver_seconds``.
        """
        problem, cosines = self.problem(views)
        positives = self.positives(views.image_ids, len(view_pairs(len(views.projected))))
        with time_solves() as clock:
            loss = self.matching_loss(problem, positives, views.generator, self.options.noise)
        return loss, cosine_terms(cosines, positives) | {"solver_seconds": torch.tensor(clock.seconds)}

    def problem(self, views: EncodedViews) -> tuple[MatchingProblem, Tensor]:
        """Write down P matching problems, differentiable, and the (P, n, n) cosines behind the GCN."""
        options = self.options
        pairs = view_pairs(len(views.projected))
        left, right = (self._rows([pair[side] for pair in pairs], views) for side in (0, 1))
        nodes = self._cut(views.projected)
        neighbors = knn(nodes, options.k)
        encoded = nodes if self.graph_encoder is None else self.graph_encoder(nodes, neighbors)
        unit = F.normalize(encoded, dim=-1)
        cosines = unit.index_select(0, left) @ unit.index_select(0, right).mT
        affinity = cosines
        if options.alpha < 1:
            cells, boxes = self.cells(views)
            maps = ((cells.index_select(0, side), boxes[side]) for side in (left, right))
            local = local_affinity(*next(maps), *next(maps), options.local_pairs)
            affinity = torch.lerp(local, cosines, options.alpha)
        edges = None
        if options.edge_weight:
            weight = options.edge_weight / options.temperature
            first, second = (encoded.index_select(0, side) for side in (left, right))
            edges = CosineEdgeCosts(neighbors[left], neighbors[right], first, second, weight)
        return MatchingProblem(-affinity / options.temperature, edges), cosines

    def cells(self, views: EncodedViews) -> tuple[Tensor, Tensor]:
        """Unit features (V·G, n, M', D) of at most ``local_grid``² cells, and oriented boxes (V·G, n, 4)."""
        maps = self._cut(views.maps)
        side = math.isqrt(maps.shape[-2])
        grid = min(side, self.options.local_grid)
        if grid < side:
            square = maps.flatten(0, 1).mT.unflatten(-1, (side, side))
            maps = F.adaptive_avg_pool2d(square, grid).flatten(2).mT.unflatten(0, maps.shape[:2])
        lengths = torch.linalg.vecdot(maps, maps).unsqueeze(-1)
        return maps * lengths.clamp(min=1e-24).rsqrt(), self._cut(oriented_boxes(views.boxes, views.flips))

    def positives(self, image_ids: Tensor, num_pairs: int) -> Tensor:
        """(P, n, n) bool: the same image in both views; a batch may have it twice."""
        graphs = image_ids.view(-1, self.options.graph_size)
        return (graphs.unsqueeze(1) == graphs.unsqueeze(2)).repeat(num_pairs, 1, 1)

    def _cut(self, values: Tensor) -> Tensor:
        """(V, B, …) → (V·G, n, …) float32: graphs of consecutive images."""
        return values.float().unflatten(1, (-1, self.options.graph_size)).flatten(0, 1)

    def _rows(self, views_of_pairs: list[int], views: EncodedViews) -> Tensor:
        """Which of the V·G graphs stand on one side of the P problems."""
        graphs = len(views.image_ids) // self.options.graph_size
        first = torch.tensor(views_of_pairs, device=views.projected.device) * graphs
        return (first.unsqueeze(1) + torch.arange(graphs, device=first.device)).flatten()
