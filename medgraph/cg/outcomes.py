"""What the finished runs of a plan say: scores by experiment and arm, judged or still to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from medgraph.cg.execute import is_done, result_file
from medgraph.cg.experiments import Experiment
from medgraph.cg.plan import Plan
from medgraph.cg.verdicts import Scoring, read_scores
from medgraph.config import ConfigError
from medgraph.evaluation.effects import Scores
from medgraph.progress import track


@dataclass(frozen=True, slots=True)
class Outcome:
    """One experiment with one backbone.

    Attributes:
        experiment: what was asked.
        backbone: its name; empty where the plan names none.
        scores: by arm, of the arms whose runs are all done.
        unfinished: names of the other arms.
    """

    experiment: Experiment
    backbone: str
    scores: Mapping[str, Scores]
    unfinished: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique in a plan: the experiment's name, and the backbone's where there are several."""
        return f"{self.experiment.name} [{self.backbone}]" if self.backbone else self.experiment.name


def read_outcomes(folder: Path, plan: Plan, scoring: Scoring = "likelihood") -> list[Outcome]:
    """Read the predictions of all finished runs.

    Args:
        folder: of the plan.
        plan: what was planned.
        scoring: as in `read_scores`.

    Returns:
        An outcome an experiment and backbone, in the order of the plan.

    Raises:
        ConfigError: if no arm is finished.
        ValueError: for predictions that do not belong together.
    """

    @cache
    def scores(keys: tuple[str, ...]) -> Scores | None:
        if not all(is_done(folder, key) for key in keys):
            return None
        return read_scores([result_file(folder, key, "predictions.jsonl") for key in keys], scoring=scoring)

    outcomes = []
    for experiment in track(plan.experiments, "reading results"):
        for backbone in plan.backbones:
            found = {
                arm.name: scores(tuple(plan.run_of(experiment, backbone, arm.name, seed).key for seed in plan.seeds))
                for arm in experiment.arms
            }
            done = {name: one for name, one in found.items() if one is not None}
            outcomes.append(Outcome(experiment, backbone, done, tuple(name for name in found if name not in done)))
    if not any(outcome.scores for outcome in outcomes):
        raise ConfigError(f"{folder}: no arm has all its runs yet; medgraph cg run {folder}")
    return outcomes
