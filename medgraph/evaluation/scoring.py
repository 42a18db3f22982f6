"""The strict protocol: the whole answer must be right.

Closed and open answers earn their point only if they equal the truth after `medgraph.evaluation.parsing.normalise`; the
answer to a choice question is the option that `parse_choice` finds, and an answer without a clear option is wrong.
Boxes earn their intersection over union (`medgraph.evaluation.boxes`), since no two people draw the same one. Nothing
can be gained by saying more: the training vocabulary or "yes no" score zero. Open answers also get a token F1 whose
recall counts each word as often as the truth has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medgraph.data.records import AnswerType
from medgraph.evaluation.boxes import match_boxes, parse_boxes
from medgraph.evaluation.parsing import normalise, parse_choice


def strict_score(answer: str, prediction: str, answer_type: AnswerType, options: Sequence[str] = ()) -> float:
    """Score one answer under the strict protocol.

    Args:
        answer: the truth.
        prediction: what the model wrote.
        answer_type: ``closed``, ``open`` or ``choice``.
        options: of a choice question; the truth is one of them.

    Returns:
        1.0 for the right answer, else 0.0; in between only for boxes.

    Raises:
        ValueError: for a choice question whose truth is not exactly one of its options.

    Example:
        >>> strict_score("yes", "Yes.", "closed"), strict_score("yes", "yes no", "closed")
        (1.0, 0.0)
        >>> strict_score("malignant", "B", "choice", ["benign", "malignant"])
        1.0
    """
    if answer_type == "open" and (boxes := parse_boxes(answer)):
        return match_boxes(boxes, parse_boxes(prediction)).iou
    if answer_type != "choice":
        return float(normalise(answer) == normalise(prediction) != "")
    wanted = [normalise(option) for option in options]
    if wanted.count(normalise(answer)) != 1:
        raise ValueError(
            f"the answer {answer!r} of a choice question must be exactly one of its options {list(options)}"
        )
    return float(parse_choice(prediction, options) == wanted.index(normalise(answer)))


def is_parsed(prediction: str, answer_type: AnswerType, options: Sequence[str] = ()) -> bool:
    """Whether an answer is one of those the question allows: yes or no, an option, any text for open questions."""
    if answer_type == "choice":
        return parse_choice(prediction, options) is not None
    if answer_type == "closed":
        return normalise(prediction) in ("yes", "no")
    return bool(normalise(prediction))


@dataclass(frozen=True, slots=True)
class TokenOverlap:
    """Precision, recall and F1 over words, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def token_overlap(answer: str, prediction: str) -> TokenOverlap:
    r"""Compare two answers as multisets of normalised words.

    With the overlap :math:`o = \sum_w \min(c_a(w), c_p(w))`, precision is :math:`o / |p|` and recall :math:`o / |a|`:
    repeating a word of the truth lowers precision and never raises recall. All are 0 where either side is empty.

    Example:
        >>> token_overlap("left lung", "lung lung lung")
        TokenOverlap(precision=0.3333333333333333, recall=0.5, f1=0.4)
    """
    truth, said = Counter(normalise(answer).split()), Counter(normalise(prediction).split())
    overlap = (truth & said).total()
    if not overlap:
        return TokenOverlap(0.0, 0.0, 0.0)
    precision, recall = overlap / said.total(), overlap / truth.total()
    return TokenOverlap(precision, recall, 2 * precision * recall / (precision + recall))
