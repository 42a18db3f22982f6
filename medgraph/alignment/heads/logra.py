"""LoGra-Med: the earlier form of ExGra-Med, views matched to each other without a barycenter."""

from __future__ import annotations

from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.alignment.heads.exgra_options import Encoder


class LoGraHead(ExGraHead):
    """Match the graphs of all pairs of views: image and answer, image and extended answer, answer and extended answer.

    ExGra-Med's ablation "w/o barycenter" (arXiv:2410.02615, whose first version is LoGra-Med). Costs, noise and
    gradient are those of :class:`ExGraHead` with ``preset="corrected"`` and ``target="pairwise"``.

    Args:
        k: neighbours of a node.
        encoder: graph layer, or ``none``.
        temperature: τ of the costs, in (0, inf).
        edge_weight: w of the edge term; 0 leaves a linear assignment.
        edge_warmup: training batches over which the weight of the edge term grows linearly from 0 to w.
        noise: scale of the Gumbel noise.
        num_samples: noise samples a step.
        graph_dim: width of a learnt linear projection that all nodes pass first; 0 keeps D.
        graph_size: cut larger batches into graphs of this size; 0 makes one graph of the batch.
        diagnostics: also solve without noise and with shuffled images, for the terms.
    """

    def __init__(
        self,
        k: int = 5,
        encoder: Encoder = "gcn",
        temperature: float = 0.1,
        edge_weight: float = 0.0,
        edge_warmup: int = 0,
        noise: float = 1.0,
        num_samples: int = 8,
        graph_dim: int = 0,
        graph_size: int = 0,
        diagnostics: bool = True,
    ) -> None:
        super().__init__(
            target="pairwise",
            k=k,
            encoder=encoder,
            temperature=temperature,
            edge_weight=edge_weight,
            edge_warmup=edge_warmup,
            noise=noise,
            num_samples=num_samples,
            graph_dim=graph_dim,
            graph_size=graph_size,
            diagnostics=diagnostics,
        )
