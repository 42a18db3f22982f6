"""Questions to a chatbot, a judge's ratings of its answers, and the protocols that turn ratings into scores.

LLaVA-Med (arXiv:2306.00890, section 4.1) lets a language model that sees caption and context, but no image, rate two
answers from 1 to 10: the reference, which another language model wrote from the caption, and the chatbot's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.evaluation.predictions import read_json_lines, read_predictions
from medgraph.evaluation.results import NO_CONTROL
from medgraph.llm.ask import read_object
from medgraph.llm.chat import Messages

LOWEST, HIGHEST = 1, 10

SYSTEM = "You compare the quality of two answers to a question about a medical image, exactly and without preference."

_TASK = """\
Two assistants answered the question above about an image that you do not see; caption and context describe it.
Rate how helpful, relevant, accurate and detailed each answer is, with one overall score from 1 to 10 for each of them;
higher is better. Neither the order of the answers nor their length alone may decide.
"""
_LINE = f"""{_TASK}\
Write the score of Assistant 1 and the score of Assistant 2 in the first line, separated by a blank, with nothing else,
and explain them in the lines below."""
_JSON = f"""{_TASK}\
Return one JSON object and nothing else, with a reason of one or two sentences:
{{"reason": "…", "assistant_1": score, "assistant_2": score}}"""

Ratings = tuple[float, float]
"""Scores from 1 to 10: in a judge's reply of the first and the second assistant, later of reference and answer."""


@dataclass(frozen=True, slots=True)
class ChatItem:
    """One question, the reference answer and the chatbot's.

    Attributes:
        id: unique in its file.
        image_id: intervals are clustered by it.
        question: without image mark.
        reference: the answer to compare with.
        answer: the chatbot's; may be empty.
        kind: type of question (``conversation``, ``detailed_description`` …).
        domain: kind of image (``chest_xray``, ``mri`` …).
        context: what the judge knows about the image; may be empty.
    """

    id: str
    image_id: str
    question: str
    reference: str
    answer: str
    kind: str
    domain: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class JudgeProtocol:
    """How a judge is asked.

    Attributes:
        name: as used on the command line.
        source: whose protocol it is.
        orders: whether the chatbot's answer is shown first, for each call about a question.
        instruction: what the judge has to return.
        read: makes the ratings of the first and second assistant from its reply; raises ValueError.
        size: questions of the published set, or None.
    """

    name: str
    source: str
    orders: tuple[bool, ...]
    instruction: str
    read: Callable[[str], Ratings]
    size: int | None = None

    def messages(self, item: ChatItem, swapped: bool) -> Messages:
        """What the judge is asked about a question; `swapped`: the chatbot's answer comes first."""
        answers = [item.reference, item.answer]
        first, second = (text.strip() or "(no answer)" for text in (answers[::-1] if swapped else answers))
        parts = {
            "Context": item.context,
            "Question": item.question,
            "Assistant 1": f"{first}\n\n[End of Assistant 1]",
            "Assistant 2": f"{second}\n\n[End of Assistant 2]",
            "System": self.instruction,
        }
        user = "\n\n".join(f"[{title}]\n{text}" for title, text in parts.items() if text)
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def read_line(text: str) -> Ratings:
    r"""Read the two numbers of the first line, separated by blanks or a comma.

    Raises:
        ValueError: for anything else, and for ratings outside 1 to 10.

    Example:
        >>> read_line("8 6.5\nThe first answer …")
        (8.0, 6.5)
    """
    line = (text.strip().splitlines() or [""])[0]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\s*,\s*|\s+)(\d+(?:\.\d+)?)\s*", line)
    if not match:
        raise ValueError(f"the first line must hold two numbers separated by a blank, found {line[:80]!r}")
    return _rated(float(match[1]), float(match[2]))


def read_ratings(text: str) -> Ratings:
    """Read ``{"reason", "assistant_1", "assistant_2"}``.

    Raises:
        ValueError: for anything else, and for ratings outside 1 to 10.
    """
    values = read_object(text, "reason", "assistant_1", "assistant_2")
    scores = [values["assistant_1"], values["assistant_2"]]
    if not all(isinstance(score, int | float) and not isinstance(score, bool) for score in scores):
        raise ValueError(f"assistant_1 and assistant_2 must be numbers, found {scores}")
    return _rated(*map(float, scores))


def _rated(first: float, second: float) -> Ratings:
    for score in (first, second):
        if not LOWEST <= score <= HIGHEST:
            raise ValueError(f"scores must be from {LOWEST} to {HIGHEST}, found {score:g}")
    return first, second


JUDGE_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        JudgeProtocol("both_orders", "MedGraph", (False, True), _JSON, read_ratings),
        JudgeProtocol("llava_med_chat", "LLaVA-Med, arXiv:2306.00890", (False,), _LINE, read_line, size=193),
    )
}


def read_chat(answers: Path, questions: Path | None = None) -> list[ChatItem]:
    """Read a chatbot's answers with their questions and references.

    Args:
        answers: a ``predictions.jsonl`` (of which controls are left out), or lines with ``question_id`` and ``text``.
        questions: for the latter, LLaVA-Med's question file: lines with ``question_id``, ``text``, ``gpt4_answer``,
            ``image``, ``type``, ``domain`` and what describes the figure.

    Raises:
        ValueError: naming the ids that are missing, unknown or repeated, and fields that are missing.
    """
    if questions is None:
        return _from_predictions(answers)
    said = _by_id(answers)
    asked = _by_id(questions)
    for ids, what in ((asked.keys() - said.keys(), f"of {questions} have no answer"),
                      (said.keys() - asked.keys(), f"are not in {questions}")):  # fmt: skip
        if ids:
            raise ValueError(f"{answers}: {len(ids)} questions {what}: {', '.join(sorted(ids)[:5])}")
    return [_item(key, question, said[key], questions, answers) for key, question in asked.items()]


def _by_id(file: Path) -> dict[str, Mapping[str, Any]]:
    lines = [line for _, line in read_json_lines(file)]
    if not lines or not all(isinstance(line, dict) and "question_id" in line for line in lines):
        raise ValueError(f"{file}: every line must be a JSON object with question_id; MedGraph's own predictions are "
                         "judged without --questions")  # fmt: skip
    counts = Counter(str(line["question_id"]) for line in lines)
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise ValueError(f"{file}: {len(repeated)} question_ids occur more than once: {', '.join(repeated[:5])}")
    return {str(line["question_id"]): line for line in lines}


def _item(key: str, question: Mapping[str, Any], line: Mapping[str, Any], questions: Path, answers: Path) -> ChatItem:
    def text(raw: Mapping[str, Any], field: str, file: Path) -> str:
        if not isinstance(raw.get(field), str):
            raise ValueError(f"{file}, question {key}: field {field!r} must be text, found {raw.get(field)!r}")
        return str(raw[field])

    flags = question.get("domain") or {}
    return ChatItem(
        id=key,
        image_id=str(question.get("image", key)),
        question=_plain_question(text(question, "text", questions)),
        reference=text(question, "gpt4_answer", questions),
        answer=text(line, "text", answers),
        kind=str(question.get("type", "unknown")),
        domain=next((name for name, flag in flags.items() if flag), "unknown"),
        context=_context(question),
    )


def _context(question: Mapping[str, Any]) -> str:
    """Caption and in-text mentions of a figure."""
    caption = ": ".join(str(question[key]) for key in ("fig_label", "fig_caption") if question.get(key))
    mentions = question.get("in_text_mention") or ""
    if not isinstance(mentions, str):
        mentions = json.dumps(mentions, ensure_ascii=False)
    parts = {"Figure Caption": caption, "Figure Context": mentions}
    return "\n\n".join(f"{title}:\n{text}" for title, text in parts.items() if text)


def _from_predictions(file: Path) -> list[ChatItem]:
    return [
        ChatItem(
            id=f"{p.split}/{p.id}",
            image_id=p.image_id,
            question=_plain_question(p.prompt),
            reference=p.answer,
            answer=p.prediction,
            kind=p.question_type,
            domain=p.triplet.partition("/")[0],
        )
        for p in read_predictions(file)
        if p.control == NO_CONTROL
    ]


def _plain_question(prompt: str) -> str:
    """The question without image mark and the names of the speakers."""
    text = prompt.replace("<image>", "").strip()
    return text.removeprefix("USER:").removesuffix("ASSISTANT:").strip()


def judge_protocol(name: str) -> JudgeProtocol:
    """Look up a protocol.

    Raises:
        ValueError: naming the known ones.
    """
    if name not in JUDGE_PROTOCOLS:
        raise ValueError(f"unknown judge protocol {name!r}; known: {', '.join(JUDGE_PROTOCOLS)}")
    return JUDGE_PROTOCOLS[name]
