"""MedEvalKit (Lingshu, arXiv:2506.07044) without a judge: as published, and with its mistakes put right.

Closed means that the truth is yes or no, whatever the data set says. The published code prints F1 as precision,
precision as recall and recall as F1, divides the open accuracy by the number of open questions twice, and crashes on
empty answers; ``medevalkit_legacy`` keeps the first two (an empty answer scores 0), ``medevalkit`` keeps none.
"""

from __future__ import annotations

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values
from medgraph.evaluation.protocols.text import rouge, sentence_bleu

_ANNOUNCEMENTS = (
    "**answer**:",
    "**answer**",
    "*answer*:",
    "**answer:**",
    "answer is",
    "answer:",
    "答案:",
    "final answer",
)


def extract_answer(text: str) -> str:
    r"""What follows "answer is" and the like, or stands in ``\boxed{}`` or ``<answer>``; lower case.

    Example:
        >>> extract_answer("I see a mass, so the answer is: Yes"), extract_answer(r"thus \boxed{left {upper} lobe}")
        (': yes', 'left {upper} lobe')
    """
    text = text.lower().strip()
    if "boxed" in text:
        text = _boxed(text)
    elif "<answer>" in text:
        parts = [part.split("</answer>")[0] for part in text.split("<answer>")[1:] if "</answer>" in part]
        text = " ".join(parts).strip() or text
    for announcement in _ANNOUNCEMENTS:
        text = text.split(announcement)[-1]
    return text


def _boxed(text: str) -> str:
    """Content of the last box, or the word None, as the kit has it."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return "None"
    content, depth = text[start + len(r"\boxed{") :], 0
    for i, character in enumerate(content):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return content[:i].strip()
    return "None"


def _score(prediction: Prediction) -> Values:
    truth, said = prediction.answer.lower().strip(), extract_answer(prediction.prediction)
    if truth in ("yes", "no"):
        said = said.replace("\n", "").replace(".", "")
        right = float(("yes" in said) != ("no" in said) and truth in said)
        return {"closed_accuracy": right, "total_accuracy": right}
    right = float(said == truth)
    figures = {f"bleu{n}": sentence_bleu(_tokens(truth), _tokens(said), (1 / n,) * n) for n in (1, 2, 3, 4)}
    return {"open_accuracy": right, "total_accuracy": right, **figures, **rouge(truth, said), **_overlap(truth, said)}


def _tokens(text: str) -> list[str]:
    return text.replace(".", " .").split(" ")


def _overlap(truth: str, said: str) -> dict[str, float]:
    reference, answer = set(truth.split()), set(said.split())
    common = len(reference & answer)
    if not common:
        return {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    precision, recall = common / len(answer), common / len(reference)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall)}


def _fixed(prediction: Prediction, candidates: Candidates) -> Values:
    return _score(prediction)


def _legacy(prediction: Prediction, candidates: Candidates) -> Values:
    figures = dict(_score(prediction))
    if "f1" in figures:
        f1, precision, recall = (figures[name] for name in ("f1", "precision", "recall"))
        figures |= {"precision": f1, "recall": precision, "f1": recall}
    return figures


MEDEVALKIT = Protocol(
    "medevalkit", "MedEvalKit, corrected", "closed: truth is yes or no, exactly one of them in the answer", _fixed
)
MEDEVALKIT_LEGACY = Protocol(
    "medevalkit_legacy",
    "MedEvalKit as published",
    "precision, recall and F1 are printed in each other's place; its open accuracy is divided by n once more",
    _legacy,
)
