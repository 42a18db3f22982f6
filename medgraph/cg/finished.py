"""What finished studies say of the gain of training sets, as rows for `medgraph.cg.contributions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraph.cg.outcomes import read_outcomes
from medgraph.cg.plan import Plan
from medgraph.cg.relations import Relations, subset_of
from medgraph.data.subsets import read_pool


@dataclass(frozen=True, slots=True)
class Gain:
    """One training set and what it did for a target.

    Attributes:
        target: key of the tested subset.
        subsets: keys of those that trained.
        shared: of each, the elements in common with the target.
        images: of each, on average over seeds.
        points: accuracy above that of the untrained model, in points, on average over seeds.
        runs: seeds.
    """

    target: str
    subsets: tuple[str, ...]
    shared: tuple[frozenset[str], ...]
    images: tuple[float, ...]
    points: float
    runs: int


def read_gains(folders: Sequence[Path]) -> list[Gain]:
    """Read the finished arms of studies that train on true labels and on no image of the target.

    An arm counts once, however many experiments share its runs; one whose study has no untrained run of its target,
    backbone and seeds does not count.

    Args:
        folders: of plans.

    Raises:
        ConfigError: for a folder without a plan, or without a finished arm.
        DataError: if the data of a study are not where they were.
    """
    gains: dict[tuple[str, ...], Gain] = {}
    for folder in folders:
        plan = Plan.load(folder)
        outcomes = read_outcomes(folder, plan)
        registry = read_pool(plan.sources).registry
        untrained = {(found.experiment.target, found.backbone): found.scores["zero_shot"]
                     for found in outcomes if "zero_shot" in found.scores}  # fmt: skip
        for outcome in outcomes:
            target = outcome.experiment.target
            reference = untrained.get((target, outcome.backbone))
            relations = Relations(registry, subset_of(registry, target))
            for arm in outcome.scores:
                runs = [plan.run_of(outcome.experiment, outcome.backbone, arm, seed) for seed in plan.seeds]
                subsets = tuple(sorted({key for run in runs for key in run.counts}))
                if reference is None or not subsets or target in subsets or runs[0].labels != "true":
                    continue
                gains[tuple(run.key for run in runs)] = Gain(
                    target=target,
                    subsets=subsets,
                    shared=tuple(relations.widest(subset_of(registry, key)) for key in subsets),
                    images=tuple(sum(run.counts.get(key, 0) for run in runs) / len(runs) for key in subsets),
                    points=100 * (outcome.scores[arm].accuracy - reference.accuracy),
                    runs=len(runs),
                )
    return list(gains.values())
