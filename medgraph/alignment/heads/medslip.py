"""MeDSLIP: two streams, anatomy and finding, and prototypes of the concepts in each.

Letters: B samples, D node width, W stream width, A anatomies and F findings known in the batch, C concepts of one kind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.diagnostics import cosine_terms
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.losses import same_content


class MeDSLIPHead(AlignmentHead):
    r"""Which anatomy, which finding, and which findings go with which anatomy.

    .. math:: L = L_\text{existence} + L_\text{prototype} + L_\text{link}

    A sample has an anatomy feature and a finding feature. The prototype of a concept is the mean text feature of the
    samples that show it. Existence: does image i show concept c? Prototype: the finding of an image must pick the mean
    of the anatomies it is linked to among other anatomies, and the anatomy its findings. Link: the finding of image i
    and the anatomy of image j belong together where the batch shows them together. Fan et al., arXiv:2403.10635.

    The paper reads entities from reports and finds features with query decoders over a book of concepts; here entities
    come from the metadata (``AlignmentInput.entities``), features are linear, and prototypes are those of the batch.

    Args:
        anatomy: entity that names the anatomy.
        finding: entity that names the finding.
        width: W, of the streams.
        num_negatives: prototypes drawn as negatives, at most.
        temperature: of all logits, in (0, inf); the paper has none.
    """

    uses_tokens = False

    def __init__(
        self,
        anatomy: str = "area",
        finding: str = "label",
        width: int = 256,
        num_negatives: int = 7,
        temperature: float = 0.3,
    ) -> None:
        super().__init__()
        if width < 1 or num_negatives < 1:
            raise ValueError(f"width={width} and num_negatives={num_negatives} must be at least 1")
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive; 0.3 is a good start")
        self.anatomy = anatomy
        self.finding = finding
        self.width = width
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.seen: set[str] = set()  # entities that were known for some sample so far

    def setup(self, dim: int) -> None:
        """Create the two streams and the maps from each to the prototypes of the other.

        Args:
            dim: node width D.
        """
        self.streams = nn.ModuleDict({kind: nn.Linear(dim, self.width) for kind in ("anatomy", "finding")})
        self.crossings = nn.ModuleDict({kind: nn.Linear(self.width, self.width) for kind in ("anatomy", "finding")})

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image and at least one text view, (B, D) each, with the two entities.

        Returns:
            Loss; terms ``existence``, ``prototype``, ``link``, ``match_accuracy`` (image → text by both features),
            ``cos_diag``, ``cos_off``.

        Raises:
            ValueError: if an entity is missing, or was unknown for all samples so far.
        """
        shows = {"anatomy": self.membership(nodes, self.anatomy), "finding": self.membership(nodes, self.finding)}
        image = self.features(nodes.image.pooled)
        linked = (shows["anatomy"].T @ shows["finding"] > 0).float()  # (A, F)
        links = {"anatomy": linked, "finding": linked.T}
        cosines, existence, prototype = [], [], []
        for text in nodes.texts.values():
            words = self.features(text.pooled)
            cosines.append(torch.stack([image[kind] @ words[kind].T for kind in image]).mean(0))
            centres = {kind: F.normalize(shows[kind].T @ words[kind], dim=-1) for kind in words}  # (C, W)
            for kind, other in (("anatomy", "finding"), ("finding", "anatomy")):
                existence.append(self.existence_loss(image[kind] @ centres[kind].T, shows[kind]))
                query = F.normalize(self.crossings[kind](image[kind]), dim=-1)
                own = shows[kind] @ links[kind]  # (B, C), how many links lead to each concept of the other kind
                prototype.append(self.prototype_loss(query, own > 0, centres[other], nodes.generator))
        together = shows["finding"] @ links["finding"] @ shows["anatomy"].T > 0
        known = shows["finding"].sum(1, keepdim=True) * shows["anatomy"].sum(1)
        losses = {
            "existence": torch.stack(existence).mean(),
            "prototype": torch.stack(prototype).mean(),
            "link": self.yes_or_no(image["finding"] @ image["anatomy"].T, together.float(), known),
        }
        ids = (nodes.image.ids, *(text.ids for text in nodes.texts.values()))
        same = same_content(len(nodes.image.pooled), *ids, device=nodes.image.pooled.device)
        terms = {name: loss.detach() for name, loss in losses.items()}
        table = torch.stack(cosines)
        return AlignmentOutput(
            torch.stack(list(losses.values())).sum(), terms | cosine_terms(table, same.expand_as(table))
        )

    def features(self, nodes: Tensor) -> dict[str, Tensor]:
        """Anatomy and finding of every node, unit vectors: (B, D) → (B, W) each."""
        return {kind: F.normalize(stream(nodes), dim=-1) for kind, stream in self.streams.items()}

    def membership(self, nodes: AlignmentInput, entity: str) -> Tensor:
        """Which sample shows which concept: (B, C) float of zeros and ones; a batch may have none, all data not."""
        codes = nodes.entities.get(entity)
        if codes is not None and (codes >= 0).any():
            self.seen.add(entity)
        if codes is None or entity not in self.seen:
            found = "not among the entities" if codes is None else f"unknown for all {len(codes)} samples"
            raise ValueError(
                f"medslip needs to know the {entity} of the samples, and it is {found} of this batch (entities: "
                f"{', '.join(nodes.entities) or 'none'}); use data with modality, area, task and label in its "
                "metadata, choose other entities with the options anatomy and finding, or another head"
            )
        return (codes.unsqueeze(1) == codes[codes >= 0].unique()).float()

    def existence_loss(self, cosines: Tensor, shows: Tensor) -> Tensor:
        """Binary cross-entropy of "image i shows concept c" over images with a known concept: (B, C) each."""
        return self.yes_or_no(cosines, shows, shows.sum(1, keepdim=True).expand_as(shows))

    def yes_or_no(self, cosines: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean of binary cross-entropies, zero where nothing has weight."""
        loss = F.binary_cross_entropy_with_logits(cosines / self.temperature, target, weight, reduction="sum")
        return loss / weight.sum().clamp(min=1)

    def prototype_loss(self, query: Tensor, own: Tensor, centres: Tensor, generator: torch.Generator | None) -> Tensor:
        """Cross-entropy of the mean of the linked prototypes against prototypes that are not linked.

        Args:
            query: (B, W) unit vectors.
            own: (B, C) bool, linked prototypes; none where the sample's concept is unknown.
            centres: (C, W) prototypes.
            generator: source of the negatives.
        """
        right = (query * F.normalize(own.float() @ centres, dim=-1)).sum(1, keepdim=True)
        draw = torch.rand(own.shape, generator=generator).to(own.device).masked_fill(own, -1.0)
        kept = draw.topk(min(self.num_negatives, own.shape[1]), dim=1)
        wrong = (query @ centres.T).gather(1, kept.indices).masked_fill(kept.values < 0, -torch.inf)
        losses = -(torch.cat([right, wrong], 1) / self.temperature).log_softmax(1)[:, 0]
        known = own.any(1)
        return (losses * known).sum() / known.sum().clamp(min=1)
