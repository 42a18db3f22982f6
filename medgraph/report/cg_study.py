"""What a report of the laboratory is made from: a plan, what has finished of it, and how its subsets are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from medgraph.cg.combinations import Combination, enumerate_combinations
from medgraph.cg.execute import result_file, unfinished
from medgraph.cg.outcomes import Outcome, read_outcomes
from medgraph.cg.plan import Plan
from medgraph.cg.published import PublishedRow, rows_of
from medgraph.cg.relations import PARTS
from medgraph.cg.verdicts import Scoring
from medgraph.config import ConfigError
from medgraph.data.records import MATTriplet
from medgraph.data.registry import builtin
from medgraph.evaluation.effects import Effect, Scores, effect_of, interval_of
from medgraph.evaluation.statistics import Interval
from medgraph.files import read_json
from medgraph.report.words import arm_name


@dataclass
class CgStudy:
    """A plan and its finished runs.

    Attributes:
        folder: of the plan.
        plan: what was planned.
        outcomes: of every experiment with every backbone.
        scoring: how answers were scored.
        left: keys of the runs that are not done.
    """

    folder: Path
    plan: Plan
    outcomes: list[Outcome]
    scoring: Scoring
    left: Sequence[str]
    _effects: dict[tuple[int, int], Effect] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, scoring: Scoring = "likelihood") -> CgStudy:
        """Read a plan and the predictions of its finished runs.

        Raises:
            ConfigError: for an unknown scoring, without a plan, or without a finished arm.
            ValueError: for predictions that do not belong together.
        """
        if scoring not in get_args(Scoring):
            raise ConfigError(f"scoring {scoring!r} is unknown; known: {', '.join(get_args(Scoring))}")
        plan = Plan.load(folder)
        if not plan.triplets:
            raise ConfigError(f"{folder}: the plan does not say what its subsets are; give medgraph cg plan the same "
                              "arguments again, no run is lost")  # fmt: skip
        return cls(folder, plan, read_outcomes(folder, plan, scoring), scoring, unfinished(folder, plan))

    def of(self, kind: str) -> list[Outcome]:
        """Outcomes of one kind of experiment."""
        return [outcome for outcome in self.outcomes if outcome.experiment.kind == kind]

    @property
    def kinds(self) -> list[str]:
        """Kinds of experiments, in the order of the plan."""
        return list(dict.fromkeys(outcome.experiment.kind for outcome in self.outcomes))

    def triplet(self, key: str) -> MATTriplet:
        """Triplet of a subset."""
        return MATTriplet.parse(self.plan.triplets[key])

    def label(self, key: str) -> str:
        """Name of a subset for readers: its triplet, with what its key says besides: ``03 CT/Lung/covid``."""
        triplet = self.plan.triplets[key]
        return triplet if key.lower() == triplet.lower() else f"{key.removeprefix('subset-')} {triplet}"

    def arm_label(self, arm: str) -> str:
        """Name of an arm for readers."""
        alone, _, key = arm.partition(" ")
        return f"{self.label(key)} alone" if alone == "alone" and key in self.plan.triplets else arm_name(arm)

    def related(self, outcome: Outcome) -> str:
        """The combined subsets of an experiment."""
        return " + ".join(map(self.label, outcome.experiment.related))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers of the experiments that combine subsets, from 1, by the name of their outcome."""
        combined = (outcome for outcome in self.outcomes if outcome.experiment.related)
        return {outcome.name: number for number, outcome in enumerate(combined, start=1)}

    def title(self, outcome: Outcome) -> str:
        """An experiment in short: number of a combination, target, and the backbone where there are several."""
        number = f"{self.numbers[outcome.name]} · " if outcome.name in self.numbers else ""
        backbone = f" [{outcome.backbone}]" if self.several_backbones else ""
        return f"{number}{self.label(outcome.experiment.target)}{backbone}"

    @property
    def several_backbones(self) -> bool:
        """Whether experiments are repeated with other models."""
        return len(self.plan.backbones) > 1

    @property
    def seeds(self) -> str:
        """How many seeds, in words."""
        count = len(self.plan.seeds)
        return f"{count} seed{'s' * (count != 1)}"

    @property
    def score(self) -> str:
        """What numbers are, in words."""
        how = "by likelihood" if self.scoring == "likelihood" else "of generated answers"
        return f"Accuracy in % {how} (boxes: IoU)"

    def shared(self, key: str, target: str) -> frozenset[str]:
        """Elements that a subset has in common with a target, in the fine view."""
        return self.triplet(key).shared(self.triplet(target))

    def coverage(self, outcome: Outcome) -> tuple[str, ...]:
        """Atoms and pairs of atoms of the target that its related subsets contain, in the fine view."""
        target = outcome.experiment.target
        shared = [self.shared(key, target) for key in outcome.experiment.related]
        return tuple("+".join(part) for part in PARTS if any(set(part) <= found for found in shared))

    def effect(self, arm: Scores, control: Scores, name: str) -> Effect:
        """An arm against a control; experiments that share their runs are compared once."""
        place = id(arm), id(control)
        if place not in self._effects:
            self._effects[place] = effect_of(arm, control, name)
        return self._effects[place]

    def published(self, outcome: Outcome) -> list[PublishedRow]:
        """Rows of the paper that a combination may be, where its subsets are those of Med-MAT."""
        experiment = outcome.experiment
        found = self._med_mat.get((experiment.direction, experiment.target, experiment.related))
        return rows_of(found, builtin()) if found else []

    @cached_property
    def environments(self) -> list[dict[str, Any]]:
        """Where the finished runs were made, in the order of the plan."""
        left = set(self.left)
        files = [result_file(self.folder, key, "environment.json") for key in self.plan.runs if key not in left]
        return [found for file in files if (found := read_json(file))]

    @cached_property
    def _med_mat(self) -> dict[tuple[str, str, tuple[str, ...]], Combination]:
        registry = builtin()
        known = {spec.key for spec in registry if self.plan.triplets.get(spec.key) == str(spec.triplet)}
        directions = {outcome.experiment.direction for outcome in self.of("combination")} - {"chosen"}
        boxes = {registry[key].kind != "cls" for key in known}
        found = [c for detection in sorted(boxes)
                 for c in enumerate_combinations(registry, sorted(directions), detection=detection)]  # type: ignore[arg-type]  # fmt: skip
        keys = ((c, registry[c.target].key, tuple(registry[no].key for no in c.related)) for c in found)
        return {(c.direction, target, related): c for c, target, related in keys if {target, *related} <= known}


def accuracy_interval(scores: Scores) -> Interval:
    """Interval of an arm's own accuracy."""
    return interval_of(scores.points, scores.images)
