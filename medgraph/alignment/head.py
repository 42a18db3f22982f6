"""The seam for alignment losses: what a head receives, what it returns, and how it is configured.

Letters: B batch (nodes of a graph), T tokens, D node width.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class NodeSet:
    """The nodes of one graph: one row a sample.

    Attributes:
        pooled: (B, D) float, one vector a sample, not normalised.
        tokens: (B, T, D) float, the vectors that were pooled, or None where a caller has none.
        mask: (B, T) bool, True at real tokens; None when all tokens are real.
        ids: (B,) int64; equal ids are the same content (the same image, the same text), so they are not negatives of
            each other. None when all differ.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    ids: Tensor | None = None

    def float(self) -> NodeSet:
        """The same nodes in float32."""
        tokens = None if self.tokens is None else self.tokens.float()
        return replace(self, pooled=self.pooled.float(), tokens=tokens)


@dataclass(slots=True)
class AlignmentInput:
    """Everything a head in the literature needs about one batch.

    Attributes:
        image: image nodes (projector output).
        texts: text views by name in a fixed order, e.g. ``{"answer": …, "extended": …}``; may be one or several.
        generator: source of all noise, on the CPU; None uses torch's default generator.
        entities: what the metadata says about every sample: ``modality``, ``area``, ``task``, ``label`` → (B,) int64
            codes, equal for equal values, -1 where unknown. Empty where a caller has no metadata.
    """

    image: NodeSet
    texts: Mapping[str, NodeSet]
    generator: torch.Generator | None = None
    entities: Mapping[str, Tensor] = field(default_factory=dict)

    def graphs(self) -> dict[str, NodeSet]:
        """All node sets by name, ``image`` first."""
        return {"image": self.image, **self.texts}

    def float(self) -> AlignmentInput:
        """The same batch with nodes in float32."""
        texts = {name: text.float() for name, text in self.texts.items()}
        return replace(self, image=self.image.float(), texts=texts)


@dataclass(slots=True)
class AlignmentOutput:
    """What a head returns.

    Attributes:
        loss: scalar float tensor, connected to the graph.
        terms: scalars to log under ``train/align/<name>``: parts of the loss and diagnostics (detached).
        matches: (B, B) float in [0, 1], detached: how much image i is matched to the text of sample j, rows summing to
            at most one; for the picture of the matches. None from heads that do not match.
    """

    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    matches: Tensor | None = None


class AlignmentHead(nn.Module):
    """Base class of alignment losses.

    A subclass takes its options as annotated keyword arguments with defaults and stores each under its own name
    (scikit-learn's convention): that is what makes ``alignment=my_pkg.my_file.MyHead alignment.temperature=0.2`` work
    on the command line and puts the options into the saved configuration. Options are checked in ``__init__`` with
    ``ValueError``. Parameters that depend on the node width are made in ``setup``. The node width is small (96) for
    the tiny preset and that of the LLM (4096) for real models.

    Attributes:
        uses_tokens: whether the head reads ``NodeSet.tokens``. False spares the tokens on their way between ranks, and
            allows a memory of earlier nodes (``stage2.queue``), which has none.
        wants_words: whether a run should call ``set_words`` after ``setup``; that reads all training texts once.

    Example:
        >>> class Centroid(AlignmentHead):
        ...     "Pull the mean image to the mean text."
        ...     def __init__(self, weight: float = 1.0) -> None:
        ...         super().__init__()
        ...         self.weight = weight
        ...     def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        ...         texts = [text.pooled.mean(0) for text in nodes.texts.values()]
        ...         gap = nodes.image.pooled.mean(0) - torch.stack(texts).mean(0)
        ...         return AlignmentOutput(self.weight * gap.square().sum())
        >>> head = Centroid(weight=2.0)
        >>> head.setup(dim=8)
        >>> head.options()
        {'weight': 2.0}
    """

    uses_tokens: bool = True
    wants_words: bool = False

    def __init__(self) -> None:
        super().__init__()

    def setup(self, dim: int) -> None:
        """Create parameters that depend on the node width D; called once before training. Default: nothing."""

    def set_words(self, embeddings: Tensor, counts: Tensor) -> None:
        """Take the words of the language model. Default: nothing.

        Args:
            embeddings: (V, D) input embeddings of the vocabulary.
            counts: (V,) int64, how often each word occurs in the training texts.
        """

    def __call__(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the alignment loss without autocast, from nodes in float32, whatever the precision around it."""
        with torch.amp.autocast(nodes.image.pooled.device.type, enabled=False):
            output: AlignmentOutput = super().__call__(nodes.float())
        return output

    @abstractmethod
    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the alignment loss of one batch; the nodes are in float32, and autocast is off."""

    def options(self) -> dict[str, Any]:
        """The constructor arguments, read back from the attributes of the same names."""
        if type(self).__init__ is nn.Module.__init__:
            return {}
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
