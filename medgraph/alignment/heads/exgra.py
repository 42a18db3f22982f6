"""ExGra-Med: match the graph of every view to a target graph by quadratic assignment.

Letters: G graphs (views: the image and the texts), P matching problems, S noise samples, B nodes, K neighbours, D node
width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.chunks import in_chunks
from medgraph.alignment.diagnostics import cosine_terms, match_table, solver_gap
from medgraph.alignment.gnn import GraphEncoder
from medgraph.alignment.gradients import match_accuracy
from medgraph.alignment.graph import knn, standardize
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.heads.exgra_options import Encoder, Preset, fill_options
from medgraph.alignment.matching import CosineEdgeCosts, MatchingProblem, Solver, on_host, solve
from medgraph.alignment.matching_loss import Gradient, MatchingLoss, Noise
from medgraph.alignment.pairs import Pairs, Target, pair_graphs


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
        edge_warmup: training batches over which the weight of the edge term grows linearly from 0 to w; 0 starts at w.
            The count is part of the state, so that a resumed run continues it.
        graph_dim: width of a learnt linear projection that all nodes pass first; 0 keeps D.
        graph_size: cut larger batches into graphs of this size; 0 makes one graph of the batch.
        diagnostics: also solve without noise and with shuffled images, for the terms.
    """

    batches: Tensor  # seen in training
    preset: Preset
    k: int
    solver: Solver
    target: Target
    standardize_nodes: bool
    shared_edges: bool
    encoder: Encoder
    residual: bool
    temperature: float
    edge_weight: float
    edge_warmup: int
    partial: bool
    threshold: float
    noise: float
    edge_noise: float
    shared_noise: bool
    num_samples: int
    gradient: Gradient
    lam: float
    noise_kind: Noise
    graph_dim: int
    graph_size: int
    diagnostics: bool

    uses_tokens = False

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
        edge_warmup: int = 0,
        graph_dim: int = 0,
        graph_size: int = 0,
        diagnostics: bool = True,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        for name, value in fill_options(given).items():
            setattr(self, name, value)
        self.projection: nn.Linear | None = None
        self.graph_encoder: GraphEncoder | None = None
        self.matching_loss = MatchingLoss(
            self.solver, self.gradient, self.lam, self.noise, self.noise_kind, self.shared_noise, self.num_samples
        )
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def setup(self, dim: int) -> None:
        """Create the projection, D·C weights, and the graph encoder: 2·C² weights for ``gcn``, 4·C² for ``graph_max``.

        Args:
            dim: node width D; C is ``graph_dim`` or, without a projection, D.
        """
        if self.graph_dim:
            self.projection = nn.Linear(dim, self.graph_dim, bias=False)
            dim = self.graph_dim
        if self.encoder == "official":
            self.graph_encoder = GraphEncoder(dim, "graph_max", False, final_relu=True, dropout=0.1, reverse=True)
        elif self.encoder != "none":
            self.graph_encoder = GraphEncoder(dim, self.encoder, residual=self.residual)

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image (B, D) and at least one text view (B, D).

        Returns:
            Loss (value: the mean Hamming distance, in [0, 2]); terms ``match_accuracy`` (without noise),
            ``shuffled_accuracy`` (the same with the images of other samples: should be at chance, 1/B),
            ``unmatched``, ``solver_gap``, ``cos_diag`` and ``cos_off`` (of encoded nodes); the matches of the image.

        Raises:
            RuntimeError: if ``setup`` was not called.
        """
        if (self.graph_dim and self.projection is None) or (self.encoder != "none" and self.graph_encoder is None):
            raise RuntimeError("call setup(dim) before forward: projection and encoder depend on the node width")
        output = in_chunks(self.one_graph, nodes, self.graph_size or max(1, len(nodes.image.pooled)))
        if self.training:
            self.batches += 1
        return output

    def one_graph(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss of one graph a view; see :meth:`forward`."""
        graphs = nodes.graphs().values()
        views = torch.stack([graph.pooled for graph in graphs])
        zero = 0.0 * (views.sum() + sum((p.sum() for p in self.parameters()), start=views.new_zeros(())))
        if views.shape[1] < 2:  # nothing to match, but DDP needs a gradient for every parameter
            return AlignmentOutput(zero)
        pairs = self.pairs(views, [graph.ids for graph in graphs])
        problem, cosines = self.problem(pairs, nodes.generator)
        edge_noise = self.edge_noise * self.current_edge_weight()
        loss = self.matching_loss(problem, pairs.positives, nodes.generator, edge_noise) + zero
        return AlignmentOutput(loss, *(self.diagnose(problem, cosines, pairs, views) if self.diagnostics else ()))

    def pairs(self, views: Tensor, ids: list[Tensor | None]) -> Pairs:
        """Project and standardise views (G, B, D) with their content ids, and choose what is matched to what."""
        views = self.projection(views) if self.projection is not None else views
        views = standardize(views) if self.standardize_nodes else views
        return pair_graphs(views, ids, self.target, both_ways=self.shared_edges)

    def current_edge_weight(self) -> float:
        """The weight w of the edge term after the batches seen in training."""
        return self.edge_weight * (min(1.0, self.batches.item() / self.edge_warmup) if self.edge_warmup else 1.0)

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
        left, right = (F.normalize(side, dim=-1) for side in (left, right))
        cosines = left @ right.transpose(-1, -2)
        threshold = self.threshold if self.partial else 0.0
        edges, weight = None, self.current_edge_weight()
        if weight and self.solver != "lap":
            edges = CosineEdgeCosts(left_neighbors, right_neighbors, left, right, weight / self.temperature, threshold)
        unmatched = -threshold / self.temperature if self.partial else None
        return MatchingProblem(-cosines / self.temperature, edges, unmatched), cosines

    @torch.no_grad()
    def diagnose(
        self, problem: MatchingProblem, cosines: Tensor, pairs: Pairs, views: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Measure the matching without noise, and once more with every image given to another sample.

        Args:
            problem: P problems.
            cosines: (P, B, B).
            pairs: the pairs they came from.
            views: (G, B, D) raw nodes, the image first.

        Returns:
            Detached scalars, and the (B, B) matches of the image.
        """
        host, right = on_host(problem, pairs.positives)
        matching = solve(host, self.solver)
        shuffled = torch.cat([views[:1].roll(len(views[0]) // 2, dims=1), views[1:]])
        training = self.training
        self.eval()
        leak_pairs = self.pairs(shuffled, [None] * len(views))
        leak_problem, wrong = on_host(self.problem(leak_pairs, None)[0], leak_pairs.positives)
        leak = solve(leak_problem, self.solver).unsqueeze(0)
        self.train(training)
        with_image = [p for p, (i, j) in enumerate(zip(pairs.left, pairs.right, strict=True)) if 0 in (i, j)]
        terms = cosine_terms(cosines, pairs.positives) | {
            "match_accuracy": match_accuracy(matching.unsqueeze(0), right),
            "shuffled_accuracy": match_accuracy(leak[:, with_image], wrong[with_image]),
            "unmatched": (matching < 0).float().mean(),
            "solver_gap": solver_gap(host, matching),
        }
        return terms, match_table(matching[[p for p, i in enumerate(pairs.left) if i == 0]])
