"""Reads answers that other code wrote, so that every protocol can score them.

Understood are MedGraph's ``predictions.jsonl``; answer files of LLaVA-Med and ExGra-Med (``question_id``, ``text``)
together with their ground truth (a list with ``conversations``, also misspelt ``conversatons``) or with VQA-RAD's
public list (``qid``, ``answer``); and lm-eval style sample files (``doc_id``, ``target``, ``filtered_resps``).

Nothing is dropped silently: unknown, duplicated and missing ids are refused by name, and what is repaired is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgraph.data.records import AnswerType
from medgraph.evaluation.controls import TrainingQuestion
from medgraph.evaluation.parsing import normalise
from medgraph.evaluation.predictions import Prediction, parse_prediction, read_json_lines, read_predictions
from medgraph.evaluation.protocols.protocol import Candidates
from medgraph.evaluation.scoring import strict_score

UNKNOWN = "unknown"
_ANSWER_TYPES: dict[str, AnswerType] = {
    "CLOSED": "closed",
    "YES/NO": "closed",
    "OPEN": "open",
    "OTHER": "open",
    "NUMBER": "open",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers that were read, and counted remarks about them (numbers turned into text, empty answers …)."""

    predictions: list[Prediction]
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Truth:
    id: str
    image: str
    question: str
    answer: str
    answer_type: AnswerType
    question_type: str


def read_answers(path: str | Path, truth: str | Path | None = None, allow_missing: bool = False) -> Answers:
    """Read a file of answers in any format this module knows.

    Args:
        path: the answers, one JSON object a line.
        truth: ground truth; needed where the answers do not carry it.
        allow_missing: count questions without an answer as wrong instead of refusing the file.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for a line, field or id that is not understood, naming file and place.
    """
    lines = list(read_json_lines(Path(path)))
    if not lines:
        raise ValueError(f"{path} holds no answers")
    for number, line in lines:
        if not isinstance(line, dict):
            raise ValueError(f"{path}:{number}: expected a JSON object, found {type(line).__name__}")
    first = lines[0][1]
    if "prediction" in first and "answer" in first:
        return _counted(read_predictions(path), Counter())
    if "target" in first and ("filtered_resps" in first or "resps" in first):
        return _read_harness(Path(path), lines)
    if "question_id" not in first and "qid" not in first:
        found = ", ".join(sorted(first)) or "no fields"
        raise ValueError(
            f"{path}:{lines[0][0]}: unknown format with {found}; expected prediction and answer (MedGraph), "
            "question_id and text (LLaVA-Med), or target and filtered_resps (lm-eval)"
        )
    if truth is None:
        raise ValueError(f"{path} holds answers without the truth; name the ground truth file with --gt")
    return _join(Path(path), lines, Path(truth), allow_missing)


def read_candidates(path: str | Path) -> Candidates:
    """Read distinct training answers: ``{"0": [...]}`` as LLaVA-Med has it, or a plain list; numbers become text.

    Raises:
        ValueError: for anything else.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    answers = content.get("0") if isinstance(content, dict) else content
    if not isinstance(answers, list):
        raise ValueError(f'{path}: expected a list of answers or {{"0": [answers]}}')
    return Candidates(tuple(map(str, answers)))


def read_training_questions(path: str | Path) -> list[TrainingQuestion]:
    """Read the questions a model was trained on, in any format of ground truth.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an entry that is not understood, naming file and place.
    """
    truths = _read_truth(Path(path), Counter())
    return [TrainingQuestion(t.question, t.answer, t.question_type, t.answer_type) for t in truths]


def _join(path: Path, lines: Sequence[tuple[int, Any]], truth_path: Path, allow_missing: bool) -> Answers:
    notes: Counter[str] = Counter()
    truths = _read_truth(truth_path, notes)
    said: dict[str, str] = {}
    order = []
    for number, line in lines:
        key = str(line.get("question_id", line.get("qid", "")))
        if not key:
            raise ValueError(f"{path}:{number}: no question_id; found {', '.join(sorted(line)) or 'no fields'}")
        order.append(key)
        text = line.get("text", line.get("answer", line.get("prediction")))
        if text is None:
            notes["answers that are missing or null, counted wrong"] += 1
        elif not isinstance(text, str):
            notes["answers that were no text, converted"] += 1
        if key in said and len({t.id for t in truths}) == len(truths):
            raise ValueError(f"{path}:{number}: question {key} is answered twice; keep one line")
        said[key] = "" if text is None else str(text)
    repeated = [key for key, count in Counter(t.id for t in truths).items() if count > 1]
    if repeated:
        return _join_by_position(path, lines, truths, order, truth_path, notes)
    if unknown := [key for key in order if key not in {t.id for t in truths}]:
        raise ValueError(f"{path}: {len(unknown)} ids are not in {truth_path}: {_some(unknown)}; remove them, "
                         "or name the file that has them with --gt")  # fmt: skip
    if absent := [t.id for t in truths if t.id not in said]:
        if not allow_missing:
            raise ValueError(
                f"{path}: {len(absent)} questions of {truth_path} have no answer: {_some(absent)}; "
                "--allow-missing counts them as wrong"
            )
        notes["questions without an answer, counted wrong"] += len(absent)
    return _counted([_prediction(t, t.id, said.get(t.id, "")) for t in truths], notes)


def _join_by_position(
    path: Path,
    lines: Sequence[tuple[int, Any]],
    truths: Sequence[_Truth],
    order: Sequence[str],
    truth_path: Path,
    notes: Counter[str],
) -> Answers:
    """Data sets such as PathVQA use image ids as question ids: only the order can join them."""
    if [t.id for t in truths] != list(order):
        raise ValueError(
            f"{truth_path} repeats ids, so answers can only be joined in order, but {path} has {len(order)} answers in "
            f"another order than the {len(truths)} questions"
        )
    notes["ids repeat in the ground truth, joined in order"] += len(truths)
    texts = [line.get("text", line.get("answer", line.get("prediction"))) for _, line in lines]
    joined = zip(truths, texts, strict=True)
    return _counted(
        [_prediction(t, f"{t.id}#{i}", "" if text is None else str(text)) for i, (t, text) in enumerate(joined)], notes
    )


def _read_truth(path: Path, notes: Counter[str]) -> list[_Truth]:
    try:
        entries = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError):
        entries = [entry for _, entry in read_json_lines(path)]
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: expected a list of questions")
    return [_truth(entry, f"{path}: entry {i}", notes) for i, entry in enumerate(entries)]


def _truth(entry: Mapping[str, Any], place: str, notes: Counter[str]) -> _Truth:
    turns = entry.get("conversations", entry.get("conversatons"))
    key = entry.get("id", entry.get("question_id", entry.get("qid")))
    answer = turns[1]["value"] if turns and len(turns) > 1 else entry.get("answer")
    if key is None or answer is None:
        raise ValueError(f"{place} has no {'id' if key is None else 'answer'}; found {', '.join(sorted(entry))}")
    if not isinstance(answer, str):
        notes["true answers that were no text, converted"] += 1
    kind = str(entry.get("answer_type", "")).strip().upper()
    if kind and kind not in _ANSWER_TYPES:
        raise ValueError(f"{place}: answer_type {entry['answer_type']!r} is not one of {', '.join(_ANSWER_TYPES)}")
    question = turns[0]["value"].replace("<image>", "").strip() if turns else str(entry.get("question", ""))
    return _Truth(
        id=str(key),
        image=str(entry.get("image", entry.get("image_name", key))),
        question=question,
        answer=str(answer),
        answer_type=_ANSWER_TYPES[kind] if kind else _guess_type(str(answer)),
        question_type=str(entry.get("question_type", UNKNOWN)),
    )


def _read_harness(path: Path, lines: Sequence[tuple[int, Any]]) -> Answers:
    """Sample files of lm-evaluation-harness and lmms-eval."""
    predictions = []
    for number, line in lines:
        said = line.get("filtered_resps", line.get("resps"))
        while isinstance(said, list) and said:
            said = said[0]
        if "doc_id" not in line or "target" not in line:
            raise ValueError(f"{path}:{number}: expected doc_id and target, found {', '.join(sorted(line))}")
        doc = line.get("doc") if isinstance(line.get("doc"), dict) else {}
        target = str(line["target"])
        key = str(line["doc_id"])
        truth = _Truth(
            key, str(doc.get("image_id", key)), str(doc.get("question", "")), target, _guess_type(target), UNKNOWN
        )
        predictions.append(_prediction(truth, key, said if isinstance(said, str) else ""))
    if repeated := [key for key, count in Counter(p.id for p in predictions).items() if count > 1]:
        raise ValueError(f"{path}: {len(repeated)} doc_ids occur more than once: {_some(repeated)}")
    return _counted(predictions, Counter())


def _prediction(truth: _Truth, key: str, said: str) -> Prediction:
    return parse_prediction(
        {
            "id": key,
            "image_id": truth.image,
            "split": "test",
            "subset": UNKNOWN,
            "triplet": "/".join([UNKNOWN] * 3),
            "question_type": truth.question_type,
            "answer_type": truth.answer_type,
            "prompt": truth.question,
            "answer": truth.answer,
            "prediction": said,
            "score": strict_score(truth.answer, said, truth.answer_type),
        }
    )


def _counted(predictions: list[Prediction], notes: Counter[str]) -> Answers:
    empty = sum(not p.prediction.strip() for p in predictions)
    if empty:
        notes["empty answers, counted wrong"] = empty
    if foreign := sum(_other_script(p.answer, p.prediction) for p in predictions):
        notes["answers in another script than the truth; no protocol translates"] = foreign
    return Answers(predictions, notes)


def _other_script(truth: str, said: str) -> bool:
    """Whether the truth has Latin letters and the answer has letters, but none of these."""
    latin = [any(c.isascii() and c.isalpha() for c in text) for text in (truth, said)]
    return latin == [True, False] and any(c.isalpha() for c in said)


def _guess_type(answer: str) -> AnswerType:
    return "closed" if normalise(answer) in ("yes", "no") else "open"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
