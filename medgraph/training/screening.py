"""Choosing settings on the validation split, with seeds of their own, before a study looks at any test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medgraph.evaluation.results import Results
from medgraph.files import write_json

if TYPE_CHECKING:
    from medgraph.training.study import Arm

FIRST_SEED = 1000
"""Screening uses the seeds 1000, 1001 …, which the comparison never does."""
VALIDATION_ONLY = ("eval.splits=[val]", "eval.controls=false")


@dataclass(frozen=True, slots=True)
class Family:
    """A method with several settings, of which the best on validation joins the study under the method's name.

    Attributes:
        name: of the method; it becomes the name of the arm.
        settings: arms to choose from.
    """

    name: str
    settings: Sequence[Arm]


@dataclass(frozen=True, slots=True)
class Choice:
    """What screening chose.

    Attributes:
        family: name of the method.
        setting: name of the best setting; the first one where several are equal.
        accuracies: validation accuracy of every setting in [0, 1], a value a seed.
    """

    family: str
    setting: str
    accuracies: dict[str, tuple[float, ...]]

    @property
    def sentence(self) -> str:
        """For people: ``exgra: edges (validation 61.2 %) chosen out of plain 60.1, edges 61.2``."""
        means = {name: f"{100 * float(np.mean(values)):.1f}" for name, values in self.accuracies.items()}
        listed = ", ".join(f"{name} {mean}" for name, mean in means.items())
        seeds = len(next(iter(self.accuracies.values())))
        return (
            f"{self.family}: {self.setting} chosen on validation (accuracy in %, mean of {seeds} screening seed(s): "
            f"{listed})."
        )


def choose(family: Family, folders: Mapping[str, Sequence[Path]]) -> tuple[Choice, Arm]:
    """Choose the setting with the highest mean validation accuracy.

    Args:
        family: the settings.
        folders: finished runs by name of the setting, answered on ``val``.

    Returns:
        The choice, and its arm under the family's name.
    """
    accuracies = {
        arm.name: tuple(
            Results.load(folder / "results.json").get("val").overall.accuracy for folder in folders[arm.name]
        )
        for arm in family.settings
    }
    best = max(family.settings, key=lambda arm: float(np.mean(accuracies[arm.name])))  # the first of equals
    return Choice(family.name, best.name, accuracies), dataclasses.replace(best, name=family.name)


def save_choices(choices: Sequence[Choice], file: Path) -> None:
    """Write all validation accuracies and the chosen settings as JSON."""
    write_json(file, {choice.family: {"chosen": choice.setting, "val": choice.accuracies} for choice in choices})
