"""What a protocol is: named per-question values, whose means are the figures papers print."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.statistics import Interval

Values = Mapping[str, float | None]
"""Figure name to value in [0, 1] of one question; None leaves the denominator, as some scorers do."""

ScoreQuestion = Callable[[Prediction, "Candidates"], Values]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct open answers of the training set, in the order of the file, which decides ties."""

    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to score answers.

    Attributes:
        name: as used on the command line.
        source: whose script it reproduces.
        note: the rule for closed questions, or what to beware of, in one line.
        score_question: values of one question; questions that a protocol does not define give no values.
        average: figures whose unweighted mean is the protocol's headline; empty for none.
        gameable: long answers or lists of answers score high under it.
        ratios: further figures, each the sum of one value over the sum of another; those two are no figures.
    """

    name: str
    source: str
    note: str
    score_question: ScoreQuestion
    average: tuple[str, ...] = ()
    gameable: bool = False
    ratios: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a table: a mean in per cent with its 95 % interval over images."""

    value: float
    n: int
    interval: Interval

    @classmethod
    def missing(cls) -> Figure:
        """The figure of no question at all."""
        return cls(math.nan, 0, Interval(math.nan, math.nan))


@dataclass(frozen=True, slots=True)
class ProtocolScore:
    """All figures of one protocol for one set of answers.

    Attributes:
        protocol: what scored.
        figures: by name, in per cent; figures without questions are absent.
        values: per-question values in [0, 1] by figure and question id, for tests between runs.
    """

    protocol: Protocol
    figures: Mapping[str, Figure]
    values: Mapping[str, Mapping[str, float]]

    def get(self, name: str) -> Figure:
        """A figure, or the missing one (NaN, n = 0)."""
        return self.figures.get(name, Figure.missing())


def is_open(prediction: Prediction) -> bool:
    """Whether the data set calls the question open."""
    return prediction.answer_type == "open"
