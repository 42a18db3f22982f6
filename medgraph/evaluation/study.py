"""Arms over seeds: means, paired differences to a reference arm, corrected p-values, compute, plateau.

Runs of one seed share data, order of questions and initialisation, so arms are compared seed by seed. Two intervals say
two different things: over seeds, whether the method would win again when trained again; over images (seeds averaged),
whether it would win on other test images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medgraph.evaluation.plateau import CurvePoint, Plateau, judge_plateau, mean_curve
from medgraph.evaluation.predictions import read_predictions
from medgraph.evaluation.results import NO_CONTROL, Results
from medgraph.evaluation.statistics import Difference, Interval, cluster_bootstrap, holm, paired_over_seeds

NONE_INTERVAL = Interval(math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRun:
    """One training run of a study.

    Attributes:
        arm: name of the method, the same for all seeds.
        seed: runs of different arms with equal seeds are pairs.
        results: what `summarise` made of its predictions.
        seconds: wall time of training.
        predictions: its ``predictions.jsonl``, for differences over images.
        curve: validation accuracy during training.
        steps: optimiser steps.
        tokens: text and image tokens seen in training.
    """

    arm: str
    seed: int
    results: Results
    seconds: float = math.nan
    predictions: Path | None = None
    curve: tuple[CurvePoint, ...] = ()
    steps: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm on one split.

    Attributes:
        arm: name.
        split: ``test``, ``ood`` …
        seeds: seeds with a result.
        accuracies: accuracy of each seed.
        mean: over seeds.
        sd: standard deviation over seeds; NaN with one.
        n: questions of one seed.
        versus: paired difference to the reference arm over common seeds; None for the reference and without pairs.
        p_holm: p of the paired t-test corrected for the number of arms compared on this split.
        over_images: interval of the same difference when test images are resampled, seeds averaged.
    """

    arm: str
    split: str
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    mean: float
    sd: float
    n: int
    versus: Difference | None
    p_holm: float
    over_images: Interval


@dataclass(frozen=True, slots=True)
class Compute:
    """What one run of an arm costs, mean over seeds; NaN where unknown."""

    seconds: float
    steps: float
    tokens: float


@dataclass(frozen=True, slots=True)
class Study:
    """Comparison of arms.

    Attributes:
        reference: the arm that differences are taken to.
        rows: by split, arms in the order of the runs.
        compute: by arm.
        plateaus: by arm, of its validation curve averaged over seeds; arms without curves are absent.
    """

    reference: str
    rows: dict[str, list[ArmResult]]
    compute: dict[str, Compute]
    plateaus: dict[str, Plateau]


def compare_arms(runs: Sequence[StudyRun], reference: str, resamples: int = 2000) -> Study:
    """Compare every arm with a reference arm, paired by seed.

    Args:
        runs: any number of arms and seeds; seeds that one of two arms lacks are left out of their comparison.
        reference: name of the reference arm.
        resamples: of the bootstrap over images.

    Raises:
        ValueError: without runs of the reference arm, or for two runs of the same arm and seed.
    """
    arms: dict[str, dict[int, StudyRun]] = defaultdict(dict)
    for run in runs:
        if run.seed in arms[run.arm]:
            raise ValueError(f"two runs of arm {run.arm!r} with seed {run.seed}; a study needs one a seed")
        arms[run.arm][run.seed] = run
    if reference not in arms:
        raise ValueError(f"no run of the reference arm {reference!r}; there are {', '.join(arms) or 'no runs'}")
    splits = dict.fromkeys(split for run in runs for split in run.results.splits)
    scores = {(run.arm, run.seed): _scores(run) for run in runs}
    return Study(
        reference,
        {split: _compare_split(arms, reference, split, scores, resamples) for split in splits},
        {arm: _compute(list(seeds.values())) for arm, seeds in arms.items()},
        {arm: judge_plateau(curve) for arm, seeds in arms.items() if (curve := mean_curve(_curves(seeds.values())))},
    )


_Scores = dict[tuple[str, str], tuple[float, str]]
"""(score, image) by (split, question id)."""


def _compare_split(
    arms: dict[str, dict[int, StudyRun]],
    reference: str,
    split: str,
    scores: dict[tuple[str, int], _Scores],
    resamples: int,
) -> list[ArmResult]:
    values = {
        arm: {seed: run.results.get(split).overall for seed, run in seeds.items() if split in run.results.splits}
        for arm, seeds in arms.items()
    }
    rows = []
    for arm, by_seed in values.items():
        if not by_seed:
            continue
        common = sorted(set(by_seed) & set(values[reference])) if arm != reference else []
        versus = over_images = None
        if common:
            versus = paired_over_seeds(
                [values[reference][seed].accuracy for seed in common], [by_seed[seed].accuracy for seed in common]
            )
            pairs = [(scores[reference, seed], scores[arm, seed]) for seed in common]
            over_images = _difference_over_images(pairs, split, resamples)
        accuracies = tuple(row.accuracy for row in by_seed.values())
        rows.append(
            ArmResult(
                arm=arm,
                split=split,
                seeds=tuple(by_seed),
                accuracies=accuracies,
                mean=float(np.mean(accuracies)),
                sd=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else math.nan,
                n=next(iter(by_seed.values())).n,
                versus=versus,
                p_holm=math.nan,
                over_images=over_images or NONE_INTERVAL,
            )
        )
    corrected = holm([row.versus.p if row.versus else math.nan for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _difference_over_images(pairs: Sequence[tuple[_Scores, _Scores]], split: str, resamples: int) -> Interval | None:
    """Interval of the difference in score averaged over seeds, images resampled; None without common questions."""
    differences: dict[tuple[str, str], list[float]] = defaultdict(list)
    images: dict[tuple[str, str], str] = {}
    for first, second in pairs:
        for key in first.keys() & second.keys():
            if key[0] == split:
                differences[key].append(second[key][0] - first[key][0])
                images[key] = first[key][1]
    if not differences:
        return None
    keys = sorted(differences)
    means = [float(np.mean(differences[key])) for key in keys]
    return cluster_bootstrap(means, [images[key] for key in keys], np.random.default_rng(0), resamples)


def _scores(run: StudyRun) -> _Scores:
    if run.predictions is None:
        return {}
    lines = read_predictions(run.predictions)
    return {(p.split, p.id): (p.score, p.image_id) for p in lines if p.control == NO_CONTROL}


def _curves(runs: Iterable[StudyRun]) -> list[tuple[CurvePoint, ...]]:
    return [run.curve for run in runs if run.curve]


def _compute(runs: Sequence[StudyRun]) -> Compute:
    def mean(values: Sequence[float | None]) -> float:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else math.nan

    return Compute(mean([r.seconds for r in runs]), mean([r.steps for r in runs]), mean([r.tokens for r in runs]))
