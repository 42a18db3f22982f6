"""Few-shot methods that change features instead of prompts.

Letters: B images, K shots in all, D width of the shared space, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.evaluation.probes import DECAYS, fit_linear
from medgraph.evaluation.statistics import Floats
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.method import Budget, FewShotMethod, ImageSet, ZeroShot


class LinearProbe(FewShotMethod):
    """Logistic regression on the pooled images; its weight decay is chosen by accuracy on validation.

    Args:
        encoder: frozen.
        classes: C classes.
    """

    names_new_classes = False

    def __init__(self, encoder: DualEncoder, classes: ClassTexts) -> None:
        super().__init__(encoder)
        self.set_classes(classes)

    def set_classes(self, classes: ClassTexts) -> None:
        """See `FewShotMethod`; only the number of classes counts."""
        self.num_classes = len(classes.names)

    def fit(self, train: ImageSet, validation: ImageSet, budget: Budget, generator: torch.Generator) -> None:
        """See `FewShotMethod`; convex, so there is no budget."""
        y, truth = train.labels.cpu().numpy(), validation.labels.cpu().numpy()
        fits = [fit_linear(_features(train), y, decay, self.num_classes) for decay in DECAYS]
        right = [(fit(_features(validation)).argmax(1) == truth).mean() for fit in fits]
        self.probabilities = fits[int(np.argmax(right))]

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`; logarithms of probabilities."""
        return torch.from_numpy(np.log(self.probabilities(_features(images)) + 1e-12)).to(images.pooled)


class ClipAdapter(ZeroShot):
    """A bottleneck on the pooled image, added to it (CLIP-Adapter, arXiv:2110.04544).

    Args:
        encoder: frozen.
        classes: C classes.
        generator: draws the weights of the start.
        ratio: share of the adapted features, in [0, 1].
        reduction: D over the width of the bottleneck.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        classes: ClassTexts,
        generator: torch.Generator,
        ratio: float = 0.2,
        reduction: int = 4,
    ) -> None:
        super().__init__(encoder, classes)
        width = self.texts.shape[1]
        self.ratio = ratio
        self.down = nn.Linear(width, max(1, width // reduction), bias=False)
        self.up = nn.Linear(self.down.out_features, width, bias=False)
        for layer in (self.down, self.up):
            nn.init.kaiming_uniform_(layer.weight, generator=generator)
        self.to(encoder.mean.device)

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`."""
        x = images.pooled[:, 0]
        x = self.ratio * self.up(self.down(x).relu()).relu() + (1 - self.ratio) * x
        return self.encoder.scale * F.normalize(x, dim=-1) @ self.texts.mT


class TipAdapter(ZeroShot):
    r"""Zero-shot logits plus votes of the shots (Tip-Adapter, arXiv:2111.03930).

    .. math:: s\, x^\top W + \alpha\, e^{-\beta (1 - x^\top F)} L

    with shots F and their one-hot classes L; α and β are chosen by accuracy on validation, from `ALPHAS` and `BETAS`.

    Args:
        encoder: frozen.
        classes: C classes.
        learn_keys: also learn F by gradients, at the α and β of the start (Tip-Adapter-F).
    """

    names_new_classes = False
    ALPHAS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
    BETAS = (1.0, 2.0, 5.5, 10.0, 20.0)

    def __init__(self, encoder: DualEncoder, classes: ClassTexts, learn_keys: bool = False) -> None:
        super().__init__(encoder, classes)
        self.learn_keys = learn_keys
        self.alpha, self.beta = 1.0, 5.5

    def fit(self, train: ImageSet, validation: ImageSet, budget: Budget, generator: torch.Generator) -> None:
        """See `FewShotMethod`."""
        self.keys = nn.Parameter(train.pooled[:, 0].clone(), requires_grad=self.learn_keys)  # (K, D)
        self.votes = F.one_hot(train.labels, len(self.texts)).to(self.keys.dtype)  # (K, C)
        super().fit(train, validation, budget, generator)
        self.alpha, self.beta = max(product(self.ALPHAS, self.BETAS), key=self._accuracies(validation).__getitem__)

    @torch.no_grad()
    def _accuracies(self, validation: ImageSet) -> dict[tuple[float, float], float]:
        options: Iterable[tuple[float, float]] = product(self.ALPHAS, self.BETAS)
        return {o: (self._logits(validation, *o).argmax(1) == validation.labels).float().mean().item() for o in options}

    def forward(self, images: ImageSet) -> Tensor:
        """See `FewShotMethod`."""
        return self._logits(images, self.alpha, self.beta)

    def _logits(self, images: ImageSet, alpha: float, beta: float) -> Tensor:
        cosines = images.pooled[:, 0] @ F.normalize(self.keys, dim=-1).mT
        return super().forward(images) + alpha * torch.exp(-beta * (1 - cosines)) @ self.votes


def _features(images: ImageSet) -> Floats:
    return np.asarray(images.pooled[:, 0].double().cpu())
