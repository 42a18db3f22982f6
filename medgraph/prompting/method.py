"""What all few-shot methods are: a frozen dual encoder, class texts, and little that is learnt from few images.

Letters: B images, V views of an image, N patches, D width of the shared space, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.prompting.classes import TEMPLATES, ClassTexts
from medgraph.prompting.encoder import DualEncoder


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Encoded images; the first view is the image as it is, the others are augmented.

    Attributes:
        pooled: (B, V, D) L2-normalised.
        tokens: (B, V, N, D) L2-normalised.
        labels: (B,) int64, class 0 to C - 1.
        groups: B names of image or patient; intervals are over these.
    """

    pooled: Tensor
    tokens: Tensor
    labels: Tensor
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> ImageSet:
        """Some of the images, by (b,) int64 positions."""
        return ImageSet(
            self.pooled[index], self.tokens[index], self.labels[index], [self.groups[i] for i in index.tolist()]
        )


@dataclass
class Budget:
    """What every method that learns by gradients gets, so that they are comparable."""

    steps: int = 100
    """Steps of AdamW."""
    lr: float = 2e-3
    """Learning rate at the start, with a cosine to zero."""
    batch_size: int = 32
    """Images a step, at most all."""


class FewShotMethod(nn.Module):
    """A classifier on encoded images; subclasses take C classes too.

    Args:
        encoder: frozen.

    Attributes:
        names_new_classes: whether `set_classes` may be called after `fit`, with classes that no image was given of.
    """

    names_new_classes = True

    def __init__(self, encoder: DualEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def set_classes(self, classes: ClassTexts) -> None:
        """Classify into these classes from now on."""

    @abstractmethod
    def forward(self, images: ImageSet) -> Tensor:
        """Logits (B, C)."""

    def fit(self, train: ImageSet, validation: ImageSet, budget: Budget, generator: torch.Generator) -> None:
        """Learn from few images: cross entropy of all parameters that are not frozen.

        Args:
            train: the shots.
            validation: what hyper-parameters may be chosen on; unused where there are none to choose.
            budget: of the optimiser.
            generator: draws batches.
        """
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not parameters:
            return
        optimizer = torch.optim.AdamW(parameters, lr=budget.lr, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.steps)
        for _ in range(budget.steps):
            batch = train.take(torch.randperm(len(train), generator=generator)[: budget.batch_size])
            loss = F.cross_entropy(self(batch), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


class ZeroShot(FewShotMethod):
    """The class whose prompts are nearest, each class the mean of all templates (CLIP, arXiv:2103.00020).

    Args:
        encoder: frozen.
        classes: C classes.
        templates: texts with a place ``{}`` for the name.
    """

    def __init__(self, encoder: DualEncoder, classes: ClassTexts, templates: Sequence[str] = TEMPLATES) -> None:
        super().__init__(encoder)
        self.templates = tuple(templates)
        self.set_classes(classes)

    def set_classes(self, classes: ClassTexts) -> None:
        """See `FewShotMethod`."""
        texts = [template.format(name) for name in classes.names for template in self.templates]
        with torch.no_grad():
            each = self.encoder.encode_texts(texts).unflatten(0, (-1, len(self.templates)))
        self.texts = F.normalize(each.mean(1), dim=-1)  # (C, D)

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`."""
        return self.encoder.scale * images.pooled[:, 0] @ self.texts.mT
