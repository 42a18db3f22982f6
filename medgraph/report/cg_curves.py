"""Accuracy over the number of images: what more related images, or a few of the target, are worth (Med-MAT, Fig. 5, 6).

Letters: K sizes, S seeds, N test questions, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medgraph.cg.outcomes import Outcome
from medgraph.evaluation.effects import Scores, interval_of, resample_seeds_and_images
from medgraph.evaluation.plain import to_plain
from medgraph.evaluation.statistics import Floats, Interval, percentile_interval
from medgraph.report.cg_study import CgStudy, accuracy_interval
from medgraph.report.tables import RunTable
from medgraph.report.words import interval, percent

REACHED = 0.9
"""Share of the way from the first point of a curve to its peak that counts as having reached the peak."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy over sizes.

    Attributes:
        name: of the curve.
        sizes: (K,) images, ascending.
        accuracy: (K,) of each.
        intervals: (K,) over seeds and images.
        area: mean accuracy over ``log(1 + images)``: the normalised area under the curve.
        area_interval: over seeds and images.
        enough: smallest size at which `REACHED` of the way from the first point to the peak is done.
        enough_interval: over seeds and images.
        questions: N.
    """

    name: str
    sizes: tuple[int, ...]
    accuracy: tuple[float, ...]
    intervals: tuple[Interval, ...]
    area: float
    area_interval: Interval
    enough: int
    enough_interval: Interval
    questions: int


def curves(outcome: Outcome) -> list[Curve]:
    """The finished curves of an experiment; the untrained model is the first point of those that start from nothing."""
    points: dict[str, dict[int, Scores]] = {}
    varied = outcome.experiment.kind == "low_data"
    for arm in outcome.experiment.arms:
        if arm.name in outcome.scores and arm.name != "zero_shot":
            name = " + ".join(word for word in arm.name.split(" ") if not word.isdigit() and word != "+")
            points.setdefault(name, {})[arm.target_images if varied else arm.images] = outcome.scores[arm.name]
    if "zero_shot" in outcome.scores:
        for name, sizes in points.items():
            if "+" not in name:
                sizes[0] = outcome.scores["zero_shot"]
    return [curve(name, dict(sorted(sizes.items()))) for name, sizes in points.items() if len(sizes) > 1]


def curve(name: str, points: dict[int, Scores]) -> Curve:
    """Measure one curve.

    Args:
        name: of it.
        points: by size, ascending, at least two.
    """
    scores = list(points.values())
    sizes = np.array(list(points))
    weights = area_weights(sizes)
    whole = np.tensordot(weights, np.array([one.points for one in scores]), 1)  # (S, N): the area is linear
    drawn = np.array([resample_seeds_and_images(one.points, one.images) for one in scores])  # (K, R)
    clusters = len(whole) if len(whole) > 1 else len(set(scores[0].images))
    ends = percentile_interval(sizes[first_reached(drawn)].astype(float), clusters)
    accuracy = np.array([one.accuracy for one in scores])
    return Curve(
        name=name,
        sizes=tuple(points),
        accuracy=tuple(accuracy.tolist()),
        intervals=tuple(map(accuracy_interval, scores)),
        area=float(whole.mean()),
        area_interval=interval_of(whole, scores[0].images),
        enough=int(sizes[first_reached(accuracy[:, None])[0]]),
        enough_interval=_outward(ends, sizes),
        questions=len(scores[0].questions),
    )


def area_weights(sizes: npt.ArrayLike) -> Floats:
    """(K,) weights, which sum to one, of the trapezoidal rule over ``log(1 + images)``.

    Example:
        >>> area_weights([0, 9, 99]).round(2).tolist()
        [0.25, 0.5, 0.25]
    """
    steps = np.diff(np.log1p(np.asarray(sizes)))
    return np.asarray((np.append(steps, 0) + np.append(0, steps)) / (2 * steps.sum()))


def _outward(ends: Interval, sizes: npt.NDArray[np.int64]) -> Interval:
    """The nearest sizes that hold an interval of sizes; NaN where there is none."""
    if np.isnan(ends.low):
        return ends
    return Interval(float(sizes[sizes <= ends.low].max()), float(sizes[sizes >= ends.high].min()))


def first_reached(accuracy: Floats) -> npt.NDArray[np.intp]:
    """First of K sizes at which (K, R) accuracies have come `REACHED` of the way from the first to the highest."""
    start = accuracy[0]
    return np.argmax(accuracy >= start + REACHED * (accuracy.max(0) - start), axis=0)


def curve_table(study: CgStudy, kind: str, found: dict[str, list[Curve]]) -> RunTable:
    """Area and images that are enough, one row a curve.

    Args:
        study: what the curves are from.
        kind: of the experiments.
        found: curves by the name of the experiment.
    """
    rows = [
        (title, one.name, f"{percent(one.area)} ({interval(one.area_interval)})",
         f"{percent(max(one.accuracy))} at {one.sizes[int(np.argmax(one.accuracy))]:,}",
         f"{one.enough:,} ({one.enough_interval.low:,.0f}–{one.enough_interval.high:,.0f})")
        for title, several in found.items() for one in several
    ]  # fmt: skip
    caption = (
        f"{study.score} over {study.seeds}, 95 % intervals over seeds and images. Area: mean accuracy over log(1 + "
        f"images). Enough: smallest measured size that has come {percent(REACHED, 0)} % of the way from the first "
        "point to the peak; the peak of noisy points is too high, so compare intervals."
    )
    header = ("experiment", "curve", "area", "peak", "images that are enough")
    records = [{"experiment": title, **to_plain(one)} for title, several in found.items() for one in several]
    return RunTable(f"{kind}_curves", "Curves", header, rows, caption, texts=2, records=records)
