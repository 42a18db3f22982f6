"""Which answer is taken for which: truths against answers, with a column for answers that are none of those allowed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from medgraph.evaluation.parsing import normalise, parse_choice
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.results import NO_CONTROL

UNPARSED = "unparsed"
OTHER = "other answers"
LARGEST = 10
"""Answers that get a row and a column of their own; rarer ones share one."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Answers of the model to the questions of one type.

    Attributes:
        split: of the questions.
        question_type: what is asked.
        truths: names of the rows.
        said: names of the columns: the truths, then `OTHER` and `UNPARSED` where they occur.
        counts: questions by row and column.
    """

    split: str
    question_type: str
    truths: tuple[str, ...]
    said: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:
        """Questions."""
        return sum(map(sum, self.counts))


def confusions(predictions: Sequence[Prediction]) -> list[Confusion]:
    """Confusion of closed and choice questions by split and question type, in the order of the predictions.

    Options are compared by their text, so questions with the same answer under another letter fall into one row.
    Types whose truth is always the same have no confusion and are left out.

    Args:
        predictions: of any splits and controls; only the model's own answers count.
    """
    pairs: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for p in predictions:
        if p.control == NO_CONTROL and p.answer_type != "open":
            pairs[p.split, p.question_type][normalise(p.answer), _said(p)] += 1
    return [
        _confusion(split, question_type, counts)
        for (split, question_type), counts in pairs.items()
        if len({truth for truth, _ in counts}) > 1
    ]


def _said(p: Prediction) -> str:
    if p.answer_type == "choice":
        chosen = parse_choice(p.prediction, p.options)
        return UNPARSED if chosen is None else normalise(p.options[chosen])
    text = normalise(p.prediction)
    return text if text in {"yes", "no", normalise(p.answer)} else UNPARSED


def _confusion(split: str, question_type: str, pairs: Counter[tuple[str, str]]) -> Confusion:
    frequency: Counter[str] = Counter()
    for (truth, _), count in pairs.items():
        frequency[truth] += count
    shown = sorted(answer for answer, _ in frequency.most_common(LARGEST))
    cells: Counter[tuple[str, str]] = Counter()
    for (truth, said), count in pairs.items():
        column = said if said in shown or said == UNPARSED else OTHER
        cells[truth if truth in shown else OTHER, column] += count
    truths = (*shown, *[OTHER] * (len(frequency) > len(shown)))
    used = {said for _, said in cells}
    columns = (*shown, *[name for name in (OTHER, UNPARSED) if name in used])
    counts = tuple(tuple(cells[truth, said] for said in columns) for truth in truths)
    return Confusion(split, question_type, truths, columns, counts)
