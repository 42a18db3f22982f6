"""What a few-shot study has found: accuracies with intervals over seeds and images, the harmonic mean, paired tests.

Letters: S seeds, N test images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.effects import Effect, Scores, effect_of
from medgraph.evaluation.statistics import holm
from medgraph.prompting.draw import TaskImage

Predictions = Mapping[str, Sequence[int]]
"""Predicted class of every test image by set: ``all``, or ``base`` and ``new``, whose classes count from 0."""


@dataclass(frozen=True)
class FewShotResults:
    """All predictions of a study.

    Attributes:
        names: of the classes; the first ``base`` are the base classes.
        base: how many.
        test: N images.
        reference: the method that is compared with all others.
        shots: images a class, ascending.
        classified: by method and shots, S predictions over all classes.
        generalized: by method, S predictions of base and new classes; empty for methods that cannot name new ones.
    """

    names: Sequence[str]
    base: int
    test: Sequence[TaskImage]
    reference: str
    shots: Sequence[int]
    classified: Mapping[str, Mapping[int, Sequence[Predictions]]]
    generalized: Mapping[str, Sequence[Predictions]]

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.generalized[self.reference])

    def accuracy(self, method: str, shots: int, balanced: bool = False) -> Scores:
        """Points of a method over all classes; see `score`."""
        return score(self.test, [cell["all"] for cell in self.classified[method][shots]], balanced)

    def mean_accuracy(self, method: str) -> Scores:
        """Points averaged over all numbers of shots."""
        several = [self.accuracy(method, shots) for shots in self.shots]
        return replace(several[0], points=np.mean([each.points for each in several], axis=0))

    def macro_f1(self, method: str, shots: int) -> list[float]:
        """One value a seed."""
        labels = np.array([image.label for image in self.test])
        return [macro_f1(labels, np.array(cell["all"])) for cell in self.classified[method][shots]]

    def base_to_new(self, method: str) -> dict[str, Scores]:
        """Points on ``base`` and ``new`` classes and their harmonic mean ``H``; empty if the method names none."""
        cells = self.generalized[method]
        if not all(cells):
            return {}
        base = score([image for image in self.test if image.label < self.base], [cell["base"] for cell in cells])
        others = [image for image in self.test if image.label >= self.base]
        counted = [image._replace(label=image.label - self.base) for image in others]
        new = score(counted, [cell["new"] for cell in cells])
        return {"base": base, "new": new, "H": harmonic(base, new)}

    def compare(self, points: Callable[[str], Scores | None]) -> dict[str, Effect]:
        """Compare the reference with all others by some points of theirs, where they have any; Holm for their number.

        Returns:
            Reference minus the other, by the other's name.
        """
        found = {method: scores for method in self.classified if (scores := points(method)) is not None}
        first = found.pop(self.reference)
        effects = [effect_of(first, scores, method) for method, scores in found.items()]
        corrected = holm([effect.p for effect in effects])
        return {e.control: replace(e, p_holm=p) for e, p in zip(effects, corrected, strict=True)}


def score(test: Sequence[TaskImage], predicted: Sequence[Sequence[int]], balanced: bool = False) -> Scores:
    """Score S predictions of the test images.

    Args:
        test: N images.
        predicted: S times N classes.
        balanced: let every class count alike, however many images it has: the mean is then the balanced accuracy.
    """
    labels = np.array([image.label for image in test])
    points = (np.array(predicted) == labels).astype(np.float64)
    if balanced:
        counts = np.bincount(labels)
        points *= len(labels) / ((counts > 0).sum() * counts[labels])
    return Scores(points, tuple(image.image for image in test), tuple(image.group for image in test))


def macro_f1(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
    """Mean over the classes that occur of the F1 of the class against the rest.

    Example:
        >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])), 3)
        0.733
    """
    f1 = [2 * ((predicted == c) & (labels == c)).sum() / ((predicted == c).sum() + (labels == c).sum())
          for c in np.unique(labels)]  # fmt: skip
    return float(np.mean(f1))


def harmonic(base: Scores, new: Scores) -> Scores:
    r"""Harmonic mean of the accuracies on base and new classes, as points of all their images.

    With b and n the accuracies over all seeds, the mean of the points is :math:`H = 2bn / (b + n)`, and they vary as H
    does to first order (delta method): a base image has

    .. math:: H + \frac{2n^2}{(b + n)^2} \frac{N_b + N_n}{N_b} (x - b),

    where x is its point, and a new image the same with b and n exchanged.

    Args:
        base: (S, N_b) points.
        new: (S, N_n) points.

    Returns:
        (S, N_b + N_n) points.
    """
    b, n = base.accuracy, new.accuracy
    mean = 2 * b * n / (b + n) if b + n else 0.0
    images = base.points.shape[1] + new.points.shape[1]
    parts = [
        mean + 2 * (other / (b + n or 1.0)) ** 2 * images / side.points.shape[1] * (side.points - side.accuracy)
        for side, other in ((base, n), (new, b))
    ]
    return Scores(np.hstack(parts), base.questions + new.questions, base.images + new.images)
