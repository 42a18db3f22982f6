"""Learnt prompts: vectors in the place of words, in front of class names or descriptions.

Letters: B images, V views, N patches, D width of the shared space, C classes, P prompts of a class, M vectors of a
context, W width of word embeddings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from medgraph.alignment.transport import transport_similarity
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.encoder import DualEncoder, Prompts
from medgraph.prompting.method import FewShotMethod, ImageSet

INIT_SD = 0.02
"""Of context vectors, as in CoOp."""


class CoOp(FewShotMethod):
    """One context for all classes, against the pooled image (CoOp, arXiv:2109.01134, unified context).

    Args:
        encoder: frozen.
        classes: C classes.
        generator: draws the vectors of the start.
        length: M.
        prompts: P contexts.
    """

    def __init__(
        self, encoder: DualEncoder, classes: ClassTexts, generator: torch.Generator, length: int = 4, prompts: int = 1
    ) -> None:
        super().__init__(encoder)
        self.length = length
        start = INIT_SD * torch.randn(prompts, length, encoder.word_width, generator=generator)
        self.contexts = nn.Parameter(start.to(encoder.mean.device))
        self.set_classes(classes)

    def set_classes(self, classes: ClassTexts) -> None:
        """See `FewShotMethod`."""
        self.named = self.encoder.tokenize([f"{name}." for name in classes.names], self.length)

    def encode_classes(self) -> Tensor:
        """All prompts of all classes: (C, P, D) L2-normalised."""
        count, num_classes = len(self.contexts), len(self.named.ids)
        prompts = Prompts(self.named.ids.repeat(count, 1), self.named.slots.repeat(count, 1))
        each = self.encoder.encode_prompts(prompts, self.contexts.repeat_interleave(num_classes, 0))
        return each.unflatten(0, (count, num_classes)).transpose(0, 1)

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`."""
        return self.encoder.scale * images.pooled[:, 0] @ self.encode_classes().mean(1).mT


class PLOT(CoOp):
    """Several contexts, transported to the patches with fixed marginals (PLOT, arXiv:2210.01253).

    The logit of a class is its transported similarity alone; the plan is a constant in the gradient.

    Args:
        encoder: frozen.
        classes: C classes.
        generator: draws the vectors of the start.
        length: M.
        prompts: P contexts.
    """

    epsilon = 0.1
    iterations = 25
    """Enough for similarities to 1e-5 at this epsilon; PLOT takes up to 100, and stops where the plan moves by 1e-2."""

    def __init__(
        self, encoder: DualEncoder, classes: ClassTexts, generator: torch.Generator, length: int = 4, prompts: int = 4
    ) -> None:
        super().__init__(encoder, classes, generator, length, prompts)

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`."""
        return self.encoder.scale * self.transport(images.tokens[:, 0], (math.inf, math.inf))

    def transport(self, tokens: Tensor, relaxation: tuple[float, float]) -> Tensor:
        """Transported similarity of (B, T, D) tokens and the prompts of every class: (B, C)."""
        similarity = torch.einsum("btd,cpd->bctp", tokens, self.encode_classes())
        return transport_similarity(similarity, self.epsilon, relaxation, iterations=self.iterations)


class Dude(PLOT):
    """Shared contexts before names and own contexts before descriptions, in unbalanced transport (arXiv:2407.04489).

    The tokens are those of all views, the prompts of a class its P shared ones and one for each of its descriptions.
    Classes that come after the training have the shared context's mean before their descriptions, where trained
    classes have learnt vectors added to it.

    Args:
        encoder: frozen.
        classes: C classes; the descriptions are those of Dude's language model.
        generator: draws the vectors of the start.
        length: M.
        prompts: P shared contexts.
        relaxation: ρ of both marginals (ours: the paper gives none).
    """

    def __init__(
        self,
        encoder: DualEncoder,
        classes: ClassTexts,
        generator: torch.Generator,
        length: int = 4,
        prompts: int = 2,
        relaxation: float = 0.5,
    ) -> None:
        super().__init__(encoder, classes, generator, length, prompts)
        self.relaxation = (relaxation, relaxation)

    def set_classes(self, classes: ClassTexts) -> None:
        """See `FewShotMethod`; own contexts start at zero."""
        super().set_classes(classes)
        self.described = self.encoder.tokenize([text for texts in classes.descriptions for text in texts], self.length)
        num = len(classes.names), len(classes.descriptions[0])
        self.own = nn.Parameter(self.contexts.new_zeros(*num, self.length, self.encoder.word_width))

    def encode_classes(self) -> Tensor:
        """Shared prompts, then those of the descriptions: (C, P + descriptions, D)."""
        own = self.encoder.encode_prompts(self.described, (self.contexts.mean(0) + self.own).flatten(0, 1))
        return torch.cat([super().encode_classes(), own.unflatten(0, self.own.shape[:2])], dim=1)

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`."""
        return self.encoder.scale * self.transport(images.tokens.flatten(1, 2), self.relaxation)
