"""Answers that need no model: what every result must beat, and what a protocol must not reward.

Each function makes predictions for the questions of given predictions, with its own ``control`` name, so that they go
through the same scoring, intervals and paired tests as the model's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medgraph.data.records import AnswerType
from medgraph.evaluation.parsing import normalise
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.scoring import strict_score


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """What a control may know of the training set."""

    question: str
    answer: str
    question_type: str
    answer_type: AnswerType


def majority(train: Sequence[TrainingQuestion], questions: Sequence[Prediction]) -> list[Prediction]:
    """Control ``majority``: the most frequent training answer of the question type and answer type.

    A combination that training does not have gets the most frequent answer of its answer type, or of all.
    """
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for known in train:
        for key in ((known.question_type, known.answer_type), (known.answer_type,), ()):
            counts[key][known.answer] += 1
    best = {key: counter.most_common(1)[0][0] for key, counter in counts.items()}

    def answer(p: Prediction) -> str:
        return best.get((p.question_type, p.answer_type)) or best.get((p.answer_type,)) or best[()]

    return _answered(questions, "majority", answer)


def nearest_question(train: Sequence[TrainingQuestion], questions: Sequence[Prediction]) -> list[Prediction]:
    """Control ``nearest_question``: the answer of the training question with the most similar words.

    Similarity is the cosine between sets of words weighted by inverse document frequency; equally similar questions
    vote with their answers.
    """
    sets = [frozenset(normalise(known.question).split()) for known in train]
    frequency = Counter(word for words in sets for word in words)
    weight = {word: np.log(1 + len(sets) / count) for word, count in frequency.items()}
    column = {word: i for i, word in enumerate(weight)}
    known = np.zeros((len(sets), len(column)), dtype=np.float32)
    for row, words in enumerate(sets):
        known[row, [column[word] for word in words]] = [weight[word] for word in words]
    known /= np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-9)

    def answer(prediction: Prediction) -> str:
        query = np.zeros(len(column), dtype=np.float32)
        for word in set(normalise(prediction.prompt).split()) & column.keys():
            query[column[word]] = weight[word]
        similarity = known @ query
        nearest = np.flatnonzero(similarity >= similarity.max() - 1e-6)
        return Counter(train[int(i)].answer for i in nearest).most_common(1)[0][0]

    return _answered(questions, "nearest_question", answer)


def constant(text: str, questions: Sequence[Prediction], control: str) -> list[Prediction]:
    """The same text for every closed question; the control is named by the caller (``always_yes`` …)."""
    closed = [p for p in questions if p.answer_type == "closed"]
    return _answered(closed, control, lambda p: text)


def vocabulary_dump(train: Sequence[TrainingQuestion], questions: Sequence[Prediction]) -> list[Prediction]:
    """Control ``vocabulary``: all training answers at once. Where it scores high, the protocol can be gamed."""
    everything = " ".join(dict.fromkeys(known.answer.lower() for known in train))
    return _answered(questions, "vocabulary", lambda p: everything)


def model_free_controls(train: Iterable[TrainingQuestion], questions: Sequence[Prediction]) -> list[Prediction]:
    """Majority, nearest training question and always-yes for the questions a model answered.

    Args:
        train: questions of the training set.
        questions: predictions of one or more splits; those of other controls are ignored.

    Raises:
        ValueError: without training questions.
    """
    known = list(train)
    if not known:
        raise ValueError("model-free controls need training questions, got none")
    own = [p for p in questions if p.control == "none"]
    return [*majority(known, own), *nearest_question(known, own), *constant("yes", own, "always_yes")]


def gaming_warnings(predictions: Sequence[Prediction]) -> list[str]:
    """Signs that recall or substring protocols overrate these answers, one sentence each."""
    warnings = []
    both = [
        p for p in predictions if p.answer_type == "closed" and {"yes", "no"} <= set(normalise(p.prediction).split())
    ]
    closed = sum(p.answer_type == "closed" for p in predictions)
    if closed and len(both) > 0.05 * closed:
        warnings.append(
            f"{len(both)} of {closed} closed answers contain both yes and no; substring protocols count both."
        )
    lengths = [
        (len(normalise(p.answer).split()), len(normalise(p.prediction).split()))
        for p in predictions
        if p.answer_type == "open"
    ]
    if lengths:
        truth, said = (float(np.mean(column)) for column in zip(*lengths, strict=True))
        if said > 5 * max(truth, 1):
            warnings.append(
                f"Open answers have {said:.0f} words on average, the truth {truth:.1f}: recall rewards length, read F1."
            )
    return warnings


def _answered(questions: Iterable[Prediction], control: str, answer: Callable[[Prediction], str]) -> list[Prediction]:
    made = []
    for question in questions:
        text = answer(question)
        score = strict_score(question.answer, text, question.answer_type, question.options)
        made.append(replace(question, control=control, prediction=text, score=score))
    return made
