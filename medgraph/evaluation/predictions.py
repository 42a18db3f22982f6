"""``predictions.jsonl``: one line a question, written while the model answers, read by everything that scores.

Scoring never needs the model again: a line holds the question, the truth, the answer and where they come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from medgraph.data.records import AnswerType, MATTriplet

ANSWER_TYPES: tuple[AnswerType, ...] = ("closed", "open", "choice")
NO_CONTROL = "none"
"""The model as it is."""
YES_NO = ("yes", "no")
"""The allowed answers of a closed question, in the order of their log-likelihoods."""

Key = tuple[str, str, str]
"""What identifies a line: question id, split and control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A model's answer to one question.

    Attributes:
        id: the question, unique in its split and control.
        image_id: the image; intervals are clustered by it.
        split: ``test``, ``ood`` …
        control: ``none`` for the model as it is, else what was taken from it (``no_image`` …) or what answered in its
            place (``majority`` …).
        subset: name of the data subset.
        triplet: ``modality/area/task`` of the image.
        question_type: what is asked; rows of the tables.
        answer_type: ``closed`` (yes or no), ``choice`` (one of the options) or ``open``.
        options: the allowed answers of a choice question, in the order shown.
        prompt: the text the model saw.
        answer: the truth.
        prediction: the text the model wrote.
        score: points under the strict protocol, in [0, 1].
        logprobs: log-likelihood of the reply that stands for each allowed answer: the letters of `options`, or yes and
            no; empty where the model gave none.
        text_logprobs: log-likelihood of the whole text of each option and the end of the answer; choice questions only.
    """

    id: str
    image_id: str
    split: str
    control: str = "none"
    subset: str
    triplet: str
    question_type: str
    answer_type: AnswerType
    options: tuple[str, ...] = ()
    prompt: str
    answer: str
    prediction: str
    score: float
    logprobs: tuple[float, ...] = ()
    text_logprobs: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        """What identifies this line in its file."""
        return self.id, self.split, self.control

    @property
    def allowed(self) -> tuple[str, ...]:
        """The answers that may be given: the options, or yes and no; empty for open questions."""
        return YES_NO if self.answer_type == "closed" else self.options


_LOGPROBS = ("logprobs", "text_logprobs")
_TEXT = tuple(f.name for f in fields(Prediction) if f.name not in ("options", "score", *_LOGPROBS))


def parse_prediction(values: object) -> Prediction:
    """Make a `Prediction` from a decoded JSON line.

    Raises:
        ValueError: naming the field, the value found and what was expected.
    """
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, found {type(values).__name__}")
    values = {"control": "none", "options": [], **dict.fromkeys(_LOGPROBS, ()), **values}
    known = [f.name for f in fields(Prediction)]
    if missing := [name for name in known if name not in values]:
        raise ValueError(f"field {missing[0]!r} is missing; found {', '.join(sorted(values))}")
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown field {unknown[0]!r}; known: {', '.join(known)}")
    for name in _TEXT:
        if not isinstance(values[name], str):
            raise ValueError(f"field {name!r} must be text, found {values[name]!r}")
    if values["answer_type"] not in ANSWER_TYPES:
        raise ValueError(
            f"field 'answer_type' must be one of {', '.join(ANSWER_TYPES)}, found {values['answer_type']!r}"
        )
    options = values["options"]
    if not isinstance(options, (list, tuple)) or not all(isinstance(option, str) for option in options):
        raise ValueError(f"field 'options' must be a list of texts, found {options!r}")
    score = values["score"]
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise ValueError(f"field 'score' must be a number in [0, 1], found {score!r}")
    MATTriplet.parse(values["triplet"])
    prediction = Prediction(**{**values, "options": tuple(options), "score": float(score)})
    return replace(
        prediction, logprobs=_logprobs(prediction, "logprobs"), text_logprobs=_logprobs(prediction, "text_logprobs")
    )


def _logprobs(prediction: Prediction, name: str) -> tuple[float, ...]:
    """Log-likelihoods of a decoded line, one for every allowed answer or none."""
    values = getattr(prediction, name)
    numbers = isinstance(values, (list, tuple)) and all(type(value) in (int, float) for value in values)
    if not numbers or len(values) not in (0, len(prediction.allowed)) or any(value > 0 for value in values):
        raise ValueError(
            f"field {name!r} must hold a number of at most 0 for each of the {len(prediction.allowed)} allowed "
            f"answers, found {values!r}"
        )
    return tuple(map(float, values))


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read a whole ``predictions.jsonl``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a line that is not a prediction or repeats a key, naming file, line and field.
    """
    first_line: dict[Key, int] = {}
    predictions = []
    for number, values in read_json_lines(Path(path)):
        try:
            prediction = parse_prediction(values)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
        if prediction.key in first_line:
            raise ValueError(
                f"{path}:{number}: question {prediction.id!r} (split {prediction.split!r}, control "
                f"{prediction.control!r}) was already answered in line {first_line[prediction.key]}; keep one of them"
            )
        first_line[prediction.key] = number
        predictions.append(prediction)
    return predictions


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and decoded value of every line that is not blank.

    Raises:
        ValueError: naming file, line and column of what is not JSON in UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8"))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: not JSON ({error.msg}, column {error.colno})") from error
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}:{number}: byte {error.start + 1} is not UTF-8; write the file in UTF-8"
                ) from error


class PredictionWriter:
    """Appends predictions to a file that can be continued after a kill.

    Lines already in the file are kept and exposed as `done`; a last line without its line break is what a kill leaves
    behind and is removed. Every line is flushed when it is written.

    Args:
        path: the ``predictions.jsonl`` to continue or to create; missing folders are made.

    Raises:
        ValueError: if the file holds something else than predictions.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _remove_torn_line(self.path)
        self.done: set[Key] = {p.key for p in read_predictions(self.path)} if self.path.exists() else set()
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Append predictions, typically one batch.

        Raises:
            ValueError: for a prediction whose (id, split, control) is already in the file.
        """
        for prediction in predictions:
            if prediction.key in self.done:
                raise ValueError(f"{self.path}: {prediction.key} is already written; skip the questions in `done`")
            values = {name: value for name, value in asdict(prediction).items() if value or name not in _LOGPROBS}
            self._file.write(json.dumps(values, ensure_ascii=False) + "\n")
            self._file.flush()
            self.done.add(prediction.key)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _remove_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
