"""ExGra-Med: match the graph of every view to a target graph by quadratic assignment.

Letters: G graphs (views: the image and the texts), P matching problems, S noise samples, B nodes, K neighbours, D node
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from medgraph.alignment.chunks import in_chunks
from medgraph.alignment.diagnostics import cosine_terms
from medgraph.alignment.gnn import GraphEncoder
from medgraph.alignment.gradients import (
    AdaptiveLambda,
    gumbel,
    match_accuracy,
    nearest_target,
    perturb,
    solve_with_target,
    straight_through,
    sum_of_gamma,
    surrogate,
    with_gradient_of,
)
from medgraph.alignment.graph import barycenter, knn, leave_one_out, standardize
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.losses import hamming, same_content
from medgraph.alignment.matching import SOLVERS, CosineEdgeCosts, MatchingProblem, Solver, solve
from medgraph.alignment.sinkhorn import soft_match

Preset = Literal["official", "paper", "corrected"]
Target = Literal["pairwise", "leave_one_out", "barycenter"]
Encoder = Literal["none", "official", "gcn", "graph_max", "graph_mean", "gat", "edge"]
Gradient = Literal["closed_form", "imle", "aimle", "blackbox", "straight_through", "entropic"]
Noise = Literal["gumbel", "sum_of_gamma"]

PRESETS: dict[str, dict[str, Any]] = {
    # The released code (its λ = 80 acts on the sum over six problems, here the mean is taken: 80 / 6).
    "official": {
        "target": "barycenter", "standardize_nodes": False, "shared_edges": True, "encoder": "official",
        "residual": False, "temperature": 1.0, "edge_weight": 0.5, "partial": True, "threshold": 0.5,
        "noise": 0.05, "edge_noise": 0.05, "shared_noise": True, "num_samples": 1, "gradient": "imle", "lam": 80 / 6,
    },
    # The method as written: one-to-one, own edges, GCN, Gumbel(0, 1), edges in full.
    "paper": {
        "target": "barycenter", "standardize_nodes": False, "shared_edges": False, "encoder": "gcn",
        "residual": False, "temperature": 1.0, "edge_weight": 1.0, "partial": False, "threshold": 0.0,
        "noise": 1.0, "edge_noise": 1.0, "shared_noise": False, "num_samples": 1, "gradient": "imle", "lam": 80 / 3,
    },
    # The fairest form known: no self-match, no shared topology, scaled logits, several samples, exact target. Without
    # the edge term, which lowered recall in every measurement so far.
    "corrected": {
        "target": "leave_one_out", "standardize_nodes": True, "shared_edges": False, "encoder": "gcn",
        "residual": True, "temperature": 0.1, "edge_weight": 0.0, "partial": False, "threshold": 0.0,
        "noise": 1.0, "edge_noise": 0.0, "shared_noise": False, "num_samples": 8, "gradient": "closed_form", "lam": 0.0,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is matched to what: P pairs of graphs.

    Attributes:
        nodes: (G', B, D), the views and their targets, before the encoder.
        left: (P,) rows of ``nodes`` on the left.
        right: (P,) rows on the right.
        positives: (P, B, B) bool, right pairs.
    """

    nodes: Tensor
    left: list[int]
    right: list[int]
    positives: Tensor


class ExGraHead(AlignmentHead):
    r"""Align views by matching their k-NN graphs, with a Hamming loss on the discrete matching.

    .. math:: L = \tfrac1P \sum_p H\big(\arg\min_m \langle c_p - \epsilon, m \rangle,\, I\big), \qquad
        c_p: \; U_{ij} = -\cos(x_i, y_j)/\tau, \quad Q_{ef} = -w \cos(e, f)/\tau

    ExGra-Med (arXiv:2410.02615), after LVM-Med (arXiv:2306.11925). The gradient is that of I-MLE. ``preset`` chooses
    the values of all options that are left at None; the attributes hold the values in force.

    With ``gradient="closed_form"`` the target is the right matching itself, and the gradient is that of a perturbed
    Fenchel-Young loss (Berthet et al., NeurIPS 2020), a structured perceptron averaged over noise.

    Args:
        preset: ``corrected`` (see docs/alignment.md for what it corrects), ``official`` (released code) or ``paper``.
        k: neighbours of a node; smaller batches use B - 1.
        solver: see :func:`medgraph.alignment.matching.solve`.
        target: what a view is matched to: every other view (``pairwise``), the mean of the other views
            (``leave_one_out``) or of all views (``barycenter``, which contains the view itself).
        standardize_nodes: centre and L2-normalise nodes before they are averaged and connected.
        shared_edges: the right graph copies the edges of the left one; both directions are then matched.
        encoder: graph layer, ``none``, or ``official``.
        residual: the encoder adds its input to its output.
        temperature: τ of the costs, in (0, inf).
        edge_weight: w of the edge term; 0 leaves a linear assignment.
        partial: nodes may stay unmatched.
        threshold: cosine at which a pair, nodes or edges, is worth nothing; used where ``partial``.
        noise: scale of the Gumbel noise on unary costs.
        edge_noise: scale of the Gumbel noise on edge costs (relative to w); above 0 needs (B·K)² numbers a problem.
        shared_noise: one draw of unary noise for all problems.
        noise_kind: ``gumbel``, or ``sum_of_gamma`` as in I-MLE.
        num_samples: S, noise samples a step.
        gradient: ``closed_form``, ``imle`` (a second solve with λ), ``aimle`` (λ adapts), ``blackbox`` (λ, no noise),
            ``straight_through``, or ``entropic``: the loss is then the negative log-likelihood of a differentiable
            soft matching, without noise.
        lam: λ; the gradient is (m' - m)/λ. 0 takes the number of nodes, which makes it a mean over nodes.
        graph_size: cut larger batches into graphs of this size; 0 makes one graph of the batch.
        diagnostics: also solve without noise and with shuffled images, for the terms.
    """

    target: Target
    standardize_nodes: bool
    shared_edges: bool
    encoder: Encoder
    residual: bool
    temperature: float
    edge_weight: float
    partial: bool
    threshold: float
    noise: float
    edge_noise: float
    shared_noise: bool
    num_samples: int
    gradient: Gradient
    lam: float

    def __init__(
        self,
        preset: Preset = "corrected",
        k: int = 5,
        solver: Solver = "frank_wolfe",
        target: Target | None = None,
        standardize_nodes: bool | None = None,
        shared_edges: bool | None = None,
        encoder: Encoder | None = None,
        residual: bool | None = None,
        temperature: float | None = None,
        edge_weight: float | None = None,
        partial: bool | None = None,
        threshold: float | None = None,
        noise: float | None = None,
        edge_noise: float | None = None,
        shared_noise: bool | None = None,
        num_samples: int | None = None,
        gradient: Gradient | None = None,
        lam: float | None = None,
        noise_kind: Noise = "gumbel",
        graph_size: int = 0,
        diagnostics: bool = True,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in PRESETS["corrected"]}
        super().__init__()
        _choice("preset", preset, tuple(PRESETS))
        _choice("solver", solver, SOLVERS)
        self.preset = preset
        self.k = k
        self.solver = solver
        self.noise_kind = noise_kind
        self.graph_size = graph_size
        self.diagnostics = diagnostics
        for name, value in given.items():
            setattr(self, name, PRESETS[preset][name] if value is None else value)
        _choice("target", self.target, get_args(Target))
        _choice("encoder", self.encoder, get_args(Encoder))
        _choice("gradient", self.gradient, get_args(Gradient))
        _choice("noise_kind", noise_kind, get_args(Noise))
        for name, minimum in (
            ("k", 1),
            ("num_samples", 1),
            ("edge_weight", 0),
            ("noise", 0),
            ("edge_noise", 0),
            ("lam", 0),
            ("graph_size", 0),
        ):
            if getattr(self, name) < minimum:
                raise ValueError(f"{name}={getattr(self, name)} is below its minimum {minimum}")
        if self.temperature <= 0:
            raise ValueError(f"temperature={self.temperature} must be positive; 0.1 is a good start")
        self.graph_encoder: GraphEncoder | None = None
        self.adaptive = AdaptiveLambda() if self.gradient == "aimle" else None

    def setup(self, dim: int) -> None:
        """Create the graph encoder, 2·D² weights for ``gcn``, 4·D² for ``graph_max``.

        Args:
            dim: node width D.
        """
        if self.encoder == "official":
            self.graph_encoder = GraphEncoder(
                dim, "graph_max", residual=False, final_relu=True, dropout=0.1, reverse=True
            )
        elif self.encoder != "none":
            self.graph_encoder = GraphEncoder(dim, self.encoder, residual=self.residual)

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image (B, D) and at least one text view (B, D).

        Returns:
            Loss (value: the mean Hamming distance, in [0, 2]); terms ``match_accuracy`` (without noise),
            ``shuffled_accuracy`` (the same with the images of other samples: should be at chance, 1/B),
            ``unmatched``, ``cos_diag`` and ``cos_off`` (of encoded nodes).

        Raises:
            RuntimeError: if ``setup`` was not called.
        """
        if self.encoder != "none" and self.graph_encoder is None:
            raise RuntimeError("call setup(dim) before forward: the graph encoder depends on the node width")
        with torch.amp.autocast(nodes.image.pooled.device.type, enabled=False):
            return in_chunks(self.one_graph, nodes, self.graph_size or max(1, len(nodes.image.pooled)))

    def one_graph(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss of one graph a view; see :meth:`forward`."""
        graphs = nodes.graphs().values()
        views = torch.stack([graph.pooled.float() for graph in graphs])
        zero = 0.0 * (views.sum() + sum((p.sum() for p in self.parameters()), start=views.new_zeros(())))
        if views.shape[1] < 2:  # nothing to match, but DDP needs a gradient for every parameter
            return AlignmentOutput(zero)
        pairs = self.pairs(views, [graph.ids for graph in graphs])
        problem, cosines = self.problem(pairs, nodes.generator)
        loss = self.loss(problem, pairs.positives, nodes.generator) + zero
        return AlignmentOutput(loss, self.diagnose(problem, cosines, pairs, views) if self.diagnostics else {})

    def loss(self, problem: MatchingProblem, positives: Tensor, generator: torch.Generator | None) -> Tensor:
        """Compute the loss with the chosen gradient.

        Args:
            problem: P problems, differentiable.
            positives: (P, B, B) bool.
            generator: source of the noise.

        Returns:
            Scalar.
        """
        if self.gradient == "entropic":
            plan = soft_match(problem).masked_fill(~positives, -torch.inf)
            return -plan.logsumexp(-1).mean()
        lam = self.lam or problem.unary.shape[-1]
        if self.adaptive is not None:
            lam = max(self.adaptive.value(problem.unary), 1e-6)
        matching, target = self.sample(problem, positives, lam, generator)
        if self.adaptive is not None and self.training:
            self.adaptive.update(matching, target)
        value = hamming(matching, positives).mean().to(problem.unary.device)
        if self.gradient == "straight_through":
            return with_gradient_of(value, straight_through(problem, positives))
        return with_gradient_of(value, surrogate(problem, matching, target) / lam)

    def pairs(self, views: Tensor, ids: list[Tensor | None]) -> Pairs:
        """Choose what is matched to what.

        Args:
            views: (G, B, D), raw nodes.
            ids: content ids of every view.

        Returns:
            The pairs; with ``shared_edges`` each in both directions.
        """
        num_views, num_nodes, _ = views.shape
        views = standardize(views) if self.standardize_nodes else views
        if self.target == "pairwise":
            left, right = (list(side) for side in zip(*_combinations(num_views), strict=True))
            nodes = views
        else:
            left, right = list(range(num_views)), list(range(num_views, 2 * num_views))
            nodes = torch.cat([views, (leave_one_out if self.target == "leave_one_out" else barycenter)(views)])
        device = views.device
        if self.target == "pairwise":
            same = [same_content(num_nodes, ids[i], ids[j], device=device) for i, j in zip(left, right, strict=True)]
        else:
            same = [same_content(num_nodes, content, device=device) for content in ids]
        if self.shared_edges:
            left, right, same = left + right, right + left, same + same
        return Pairs(nodes, left, right, torch.stack(same))

    def problem(self, pairs: Pairs, generator: torch.Generator | None) -> tuple[MatchingProblem, Tensor]:
        """Encode the graphs and write down the costs.

        Args:
            pairs: P pairs of graphs.
            generator: source of the encoder's dropout.

        Returns:
            The problem, differentiable, and its (P, B, B) cosines.
        """
        neighbors = knn(pairs.nodes, self.k)
        left_neighbors = neighbors[pairs.left]
        right_neighbors = left_neighbors if self.shared_edges else neighbors[pairs.right]
        if self.graph_encoder is None:
            left, right = pairs.nodes[pairs.left], pairs.nodes[pairs.right]
        elif self.shared_edges:
            left = self.graph_encoder(pairs.nodes[pairs.left], left_neighbors, generator)
            right = self.graph_encoder(pairs.nodes[pairs.right], right_neighbors, generator)
        else:
            encoded = self.graph_encoder(pairs.nodes, neighbors, generator)
            left, right = encoded[pairs.left], encoded[pairs.right]
        left, right = (torch.nn.functional.normalize(side, dim=-1) for side in (left, right))
        cosines = left @ right.transpose(-1, -2)
        threshold = self.threshold if self.partial else 0.0
        edges = None
        if self.edge_weight and self.solver != "lap":
            weight = self.edge_weight / self.temperature
            edges = CosineEdgeCosts(left_neighbors, right_neighbors, left, right, weight, threshold)
        problem = MatchingProblem(
            -cosines / self.temperature, edges, threshold=-threshold / self.temperature if self.partial else None
        )
        return problem, cosines

    def sample(
        self, problem: MatchingProblem, positives: Tensor, lam: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Solve the problem under noise and find the targets.

        Args:
            problem: P problems.
            positives: (P, B, B) bool.
            lam: λ of the second solve.
            generator: source of the noise.

        Returns:
            Matching and target, (S, P, B) int64 each.
        """
        num_problems, num_nodes, _ = problem.unary.shape
        samples, edge_noise = self.num_samples, None
        noise_shape = (samples, 1 if self.shared_noise else num_problems, num_nodes, num_nodes)
        if self.gradient == "blackbox":
            samples, noise = 1, torch.zeros(1, 1, 1, 1)
        elif self.noise_kind == "sum_of_gamma":
            noise = self.noise * sum_of_gamma(noise_shape, num_nodes, generator)
        else:
            noise = self.noise * gumbel(noise_shape, generator)
        if self.gradient != "blackbox" and problem.edges is not None and self.edge_noise:
            num_edges = problem.edges.left[0].numel()
            scale = self.edge_noise * self.edge_weight
            edge_noise = scale * gumbel((samples, num_problems, num_edges, num_edges), generator)
        noisy = perturb(problem, noise, edge_noise)
        if self.gradient in ("imle", "aimle", "blackbox"):
            return solve_with_target(noisy, positives, lam, self.solver)
        matching = solve(noisy, self.solver).view(samples, num_problems, num_nodes)
        return matching, nearest_target(matching, positives)

    @torch.no_grad()
    def diagnose(self, problem: MatchingProblem, cosines: Tensor, pairs: Pairs, views: Tensor) -> dict[str, Tensor]:
        """Measure the matching without noise, and once more with every image given to another sample.

        Args:
            problem: P problems.
            cosines: (P, B, B).
            pairs: the pairs they came from.
            views: (G, B, D) raw nodes, the image first.

        Returns:
            Detached scalars.
        """
        matching = solve(problem, self.solver).unsqueeze(0)
        shuffled = torch.cat([views[:1].roll(len(views[0]) // 2, dims=1), views[1:]])
        training = self.training
        self.eval()
        leak_pairs = self.pairs(shuffled, [None] * len(views))
        leak = solve(self.problem(leak_pairs, None)[0], self.solver).unsqueeze(0)
        self.train(training)
        with_image = [p for p, (i, j) in enumerate(zip(pairs.left, pairs.right, strict=True)) if 0 in (i, j)]
        return cosine_terms(cosines, pairs.positives) | {
            "match_accuracy": match_accuracy(matching, pairs.positives),
            "shuffled_accuracy": match_accuracy(leak[:, with_image], leak_pairs.positives[with_image]),
            "unmatched": (matching < 0).float().mean(),
        }


def _combinations(num_views: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(num_views) for j in range(i + 1, num_views)]


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}")
