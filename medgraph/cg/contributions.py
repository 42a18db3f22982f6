r"""What the elements that training subsets share with a target contribute to its accuracy.

The gain over the untrained model, in points, is a weighted sum of what was shared (`features`):

.. math:: g_r = x_r^\top \beta + u_{t(r)} + \epsilon_r, \quad \beta \sim N(m, C), \quad u_t \sim N(0, b^2), \quad
          \epsilon_r \sim N(0, w^2)

with one deviation :math:`u_t` for every target. The result is averaged over a grid of :math:`b` and :math:`w`, weighted
by the evidence for each, so that few runs do not look like certainty. The prior of :math:`\beta` comes from the
published rows of Med-MAT (arXiv:2412.20070, Tables 3 and 10), fitted in the same way.

Letters: R rows, P features, T targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from medgraph.cg.combinations import PATTERNS
from medgraph.cg.published import published_rows
from medgraph.cg.relations import PARTS
from medgraph.data.records import ELEMENTS
from medgraph.evaluation.statistics import Floats

FEATURES = ("trained at all", *("+".join(part) for part in PARTS), "all elements together")
FULL = 3000
"""Images at which a contribution counts in full: Med-MAT's cap of a subset."""
LEVELS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Points that targets and rows may deviate by: the grid of b and w."""
COMMON, APART = 10.0, 1.0
"""Prior standard deviations in points, before the published rows: of being trained at all, of what the three elements
have in common and of having all of them; and of what tells elements apart and pairs from their elements, which five
directions hardly show."""
TRANSFER = 5.0
"""Standard deviation, in points, of a contribution between models.

That of the gain from a pair of subsets is then about 10; in Tables 9, 11, 12 and 15 it is 9 over models."""


def features(shared: Sequence[frozenset[str]], images: Sequence[float] | None = None) -> Floats:
    """Describe a training set by what its subsets share with the target.

    Args:
        shared: elements that each subset has in common with the target.
        images: of each subset; None: equally many and enough.

    Returns:
        (P,) shares of the images that have each element and pair of elements in common, in [0, 1], and whether the
        subsets have all three elements between them; all of it scaled by ``log(1 + images) / log(1 + FULL)``.

    Example:
        >>> dict(zip(FEATURES, features([frozenset({"modality", "area"}), frozenset({"task"})]).tolist()))["area"]
        0.5
    """
    sizes = np.ones(len(shared)) if images is None else np.asarray(images, float)
    total = sizes.sum()
    if not total:
        return np.zeros(len(FEATURES))
    parts = [[set(part) <= found for found in shared] for part in PARTS]
    complete = set().union(*shared) == set(ELEMENTS)
    scale = 1.0 if images is None else np.log1p(total) / np.log1p(FULL)
    return scale * np.array([1.0, *(np.array(parts) @ sizes / total), complete])


@dataclass(frozen=True, slots=True)
class Estimate:
    """An expected gain in points and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Contributions:
    """Contributions and the deviations of targets, as a normal distribution.

    Attributes:
        targets: whose deviations are known; any other deviates by nothing on average.
        mean: (P + T,).
        covariance: (P + T, P + T).
    """

    targets: tuple[str, ...]
    mean: Floats
    covariance: Floats

    def expect(self, x: Floats, target: str | None = None) -> Estimate:
        """Gain of a training set.

        Args:
            x: (P,) its features.
            target: one of ``targets``; None: contributions alone.
        """
        weights = np.concatenate([x, [float(name == target) for name in self.targets]])
        mean, half = float(weights @ self.mean), 1.96 * float(np.sqrt(weights @ self.covariance @ weights))
        return Estimate(mean, mean - half, mean + half)


def fit(x: Floats, gains: Floats, targets: Sequence[str], prior: tuple[Floats, Floats], asked: str) -> Contributions:
    """Estimate contributions.

    Args:
        x: (R, P) features; R may be 0.
        gains: (R,) points over the untrained model.
        targets: of each row.
        prior: (P,) mean and (P, P) covariance of the contributions.
        asked: the target that predictions are wanted for, whether or not it has rows.
    """
    names = tuple(dict.fromkeys((asked, *targets)))
    z = np.concatenate([x, np.array([[name == target for name in names] for target in targets], float)
                        .reshape(len(x), len(names))], 1)  # fmt: skip
    mean = np.concatenate([prior[0], np.zeros(len(names))])
    means, covariances, evidence = [], [], []
    for between, within in product(LEVELS, LEVELS):
        precision = np.zeros((len(mean), len(mean)))
        precision[: len(prior[0]), : len(prior[0])] = np.linalg.inv(prior[1])
        precision[len(prior[0]) :, len(prior[0]) :] = np.eye(len(names)) / between**2
        posterior = precision + z.T @ z / within**2
        found = np.linalg.solve(posterior, precision @ mean + z.T @ gains / within**2)
        misfit = ((gains - z @ found) ** 2).sum() / within**2 + (found - mean) @ precision @ (found - mean)
        sizes = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(posterior)[1] - 2 * len(x) * np.log(within)
        evidence.append(0.5 * (sizes - misfit))
        means.append(found)
        covariances.append(np.linalg.inv(posterior))
    weights = np.exp(np.array(evidence) - max(evidence))
    weights /= weights.sum()
    average = weights @ np.array(means)
    apart = np.array(means) - average
    covariance = np.tensordot(weights, np.array(covariances), 1) + (weights[:, None] * apart).T @ apart
    return Contributions(names, average, covariance)


@cache
def published_prior() -> tuple[Floats, Floats]:
    """Mean and covariance of the contributions by the published rows, as uncertain as another model makes them."""
    x, gains, targets = [], [], []
    for row in published_rows():
        rows = [(features(PATTERNS[row.direction]), row.trained)]
        if row.baseline_plus is not None:
            rows.append((features([frozenset()]), row.baseline_plus))
        for found, accuracy in rows:
            x.append(found)
            gains.append(float(accuracy - row.zero_shot))
            targets.append(str(row.subset))
    element = np.array([feature in ELEMENTS for feature in FEATURES])
    pair = np.array(["+" in feature for feature in FEATURES])
    alike = np.diag(~element & ~pair) + np.outer(element, element)
    weak = np.zeros(len(FEATURES)), COMMON**2 * alike + APART**2 * np.diag(element | pair)
    learned = fit(np.array(x), np.array(gains), targets, weak, targets[0])
    size = len(FEATURES)
    return learned.mean[:size], learned.covariance[:size, :size] + TRANSFER**2 * np.eye(size)
