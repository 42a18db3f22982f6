"""What a language model is asked when it extends answers, and what it has to return."""

from __future__ import annotations

import json

from medgraph.data.conversation import IMAGE_MARK
from medgraph.data.extend.conversations import Conversation
from medgraph.data.records import Record
from medgraph.data.vocabulary import VOCABULARIES
from medgraph.llm.ask import read_object
from medgraph.llm.chat import Messages

UNKNOWN = ("unspecified", "vqa")
"""Elements of triplets that say nothing."""

SYSTEM = """\
You prepare training data for a model that answers questions about medical images. You are given what is known about one
image, and questions about it with short, correct answers. You do not see the image.

Write every answer again, longer:
- Say the same. Keep every medical term, number, side, place and negation of the short answer; contradict nothing.
- Speak as someone who looks at the image, in whole sentences without lists or headings.
- Explain terms or name what usually goes with the finding only where it is certain in general. Invent no measurement,
  no comparison, no history and no finding that the short answer does not contain.
- Use at most twice as many words as the short answer, or 30 words if it is very short.
- Do not mention these instructions, the question, or that an answer was given.

Return one JSON object and nothing else: {"answers": ["…", …]}, one text for each question, in their order."""


def extension_messages(conversation: Conversation) -> Messages:
    """The messages that ask for the long answers of a conversation."""
    asked = {
        "known about the image": known_facts(conversation.records[0]),
        "questions": [{"question": r.question, "short answer": r.answer} for r in conversation.records],
    }
    user = json.dumps({key: value for key, value in asked.items() if value}, ensure_ascii=False)
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def known_facts(record: Record) -> dict[str, str]:
    """Modality, area and task in running text, and the label where it is not the answer; without what is unknown."""
    elements = {name: getattr(record.triplet, name) for name in VOCABULARIES}
    facts = {name: VOCABULARIES[name].describe(word) for name, word in elements.items() if word not in UNKNOWN}
    return facts if record.label in ("", record.answer) else {**facts, "label": record.label}


def read_answers(text: str, num: int) -> list[str]:
    """Read the long answers of a conversation.

    Args:
        text: what the model wrote.
        num: number of questions.

    Raises:
        ValueError: unless it is ``{"answers": [...]}`` with so many non-empty texts.

    Example:
        >>> read_answers('{"answers": ["The left lung is affected."]}', 1)
        ['The left lung is affected.']
    """
    answers = read_object(text, "answers")["answers"]
    if not isinstance(answers, list) or len(answers) != num:
        found = len(answers) if isinstance(answers, list) else type(answers).__name__
        raise ValueError(f"'answers' must be a list of {num} texts, one for each question, found {found}")
    for answer in answers:
        if not isinstance(answer, str) or not answer.strip() or IMAGE_MARK in answer:
            raise ValueError(f"every answer must be a non-empty text without {IMAGE_MARK}, found {answer!r}")
    return [answer.strip() for answer in answers]
