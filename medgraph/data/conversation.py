"""From records to token ids: prompts, turns, and labels placed by character offsets.

A label mask computed from token counts breaks whenever a tokenizer merges across a boundary. Here the whole text is
tokenised once, and a token is supervised exactly when it ends inside an answer.

Letters: T tokens of a sequence.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medgraph.data.chat import chat_format
from medgraph.data.errors import DataError
from medgraph.data.records import Record

IGNORE = -100
"""Label of tokens that are not supervised (the default ``ignore_index`` of torch's cross entropy)."""
IMAGE_MARK = "<image>"
"""Where the image tokens go; one special token of the tokenizer."""
DETAIL = "Answer in detail."
"""Asks for the extended answer, so that both kinds of answers can be learnt without contradiction."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenised conversation.

    Attributes:
        ids: T token ids; the image is one ``<image>`` token repeated.
        labels: T ids, ``IGNORE`` where the token is not part of an answer.
    """

    ids: list[int]
    labels: list[int]


def ask(record: Record, detail: bool = False) -> str:
    """The user's turn: the question, for choice questions with lettered options in the released Med-MAT style.

    Example:
        >>> from medgraph.data.records import MATTriplet
        >>> r = Record(id="1", image_id="1", image="a.png", question="Which organ?", answer="lung", extended="",
        ...            answer_type="choice", question_type="area", triplet=MATTriplet("CT", "Lung", "State"),
        ...            label="x", subset="s", group="g", options=("lung", "brain"))
        >>> print(ask(r))
        Which organ?
        A: lung
        B: brain
        Answer with the option's letter from the given choices directly.
    """
    if detail:
        return f"{record.question} {DETAIL}"
    if record.answer_type != "choice":
        return record.question
    options = "\n".join(f"{letter}: {option}" for letter, option in zip(letters(record), record.options, strict=True))
    return f"{record.question}\n{options}\nAnswer with the option's letter from the given choices directly."


def letters(record: Record) -> str:
    """The letters of a choice question's options, ``"ABCD"`` for four."""
    return string.ascii_uppercase[: len(record.options)]


def reply(record: Record, detail: bool = False) -> str:
    """The assistant's turn: the letter of a choice question, else the short answer; the extended one on request."""
    if detail:
        return record.extended
    return letters(record)[record.options.index(record.answer)] if record.answer_type == "choice" else record.answer


def prompt(record: Record, image: bool = True) -> str:
    """Text up to the point where the answer begins, in MedGraph's own format."""
    return f"USER: {IMAGE_MARK}\n{ask(record)} ASSISTANT:" if image else f"USER: {ask(record)} ASSISTANT:"


def encode_prompt(tokenizer: Any, record: Record, image_tokens: int) -> list[int]:
    """Token ids up to the point where the answer begins; 0 image tokens ask without the image.

    Raises:
        DataError: if the question contains a special token; names the record.
    """
    _refuse_marks(tokenizer, record, ask(record))
    chat = chat_format(tokenizer)
    text = f"{chat.start}{IMAGE_MARK + chat.behind_image if image_tokens else ''}{ask(record)}{chat.answer}"
    return _expand(tokenizer, tokenizer(text)["input_ids"], image_tokens)


def encode_reply(tokenizer: Any, text: str, end: bool = False) -> list[int]:
    """Token ids of an answer as they follow ``encode_prompt``, with the token that ends it where it is to end there."""
    chat = chat_format(tokenizer)
    lead = chat.answer.lstrip()
    encoding = tokenizer(f"{lead}{chat.space}{text}{chat.end if end else ''}", return_offsets_mapping=True)
    ends = [stop for _, stop in encoding["offset_mapping"]]
    return [token for token, stop in zip(encoding["input_ids"], ends, strict=True) if stop > len(lead)]


def encode_conversation(
    tokenizer: Any, records: Sequence[Record], image_tokens: int, max_length: int, detail: bool = False
) -> Encoded:
    """Tokenise the records of one image as turns of a conversation and mark the answers.

    Args:
        tokenizer: a fast Hugging Face tokenizer with ``<image>`` among its special tokens and an end-of-text token.
        records: the turns, in order; all about one image. Of a choice question and another one with the same answer
            (the two records of a labelled image) the later is left out: its answer would be copied, not seen. Turns
            that do not fit behind the first one are left out as well; independent questions come earlier in another
            epoch.
        image_tokens: tokens of the image (at least 1).
        max_length: longest sequence in tokens.
        detail: ask for and answer with the extended answers.

    Raises:
        DataError: if an answer leaves no supervised token, a text contains a special token, or the sequence is too
            long; names the record.
    """
    chat = chat_format(tokenizer)
    text, spans = f"{chat.start}{IMAGE_MARK}{chat.behind_image}", []
    for turn, record in enumerate(_without_copies(records)):
        text += f"{chat.next if turn else ''}{ask(record, detail)}{chat.answer}"
        start = len(text)
        answer = reply(record, detail).strip()
        _refuse_marks(tokenizer, record, f"{ask(record, detail)} {answer}")
        text += f"{chat.space}{answer}{chat.end}"
        spans.append((start, len(text), record, answer))
    encoding = tokenizer(text, return_offsets_mapping=True)
    ids, ends = encoding["input_ids"], [end for _, end in encoding["offset_mapping"]]
    labels, room, length = [IGNORE] * len(ids), max_length - image_tokens + 1, 0
    for start, end, record, answer in spans:
        inside = [i for i, token_end in enumerate(ends) if start < token_end <= end]
        if not answer or not inside:
            raise DataError(
                f"record {record.id}: the answer {answer!r} leaves no supervised token; give it a "
                f"non-empty {'extended' if detail else 'answer'}"
            )
        if length and inside[-1] >= room:
            break
        length = inside[-1] + 1
        for i in inside:
            labels[i] = ids[i]
    ids, labels = ids[:length], labels[:length]
    ids, labels = (_expand(tokenizer, sequence, image_tokens, ids) for sequence in (ids, labels))
    if len(ids) > max_length:
        raise DataError(
            f"record {records[0].id}: {len(ids)} tokens with its image, model.max_length={max_length}; raise it, or "
            "shorten the record"
        )
    return Encoded(ids, labels)


def _without_copies(records: Sequence[Record]) -> list[Record]:
    turns: list[Record] = []
    for record in records:
        kinds = {turn.answer_type for turn in turns if turn.answer == record.answer}
        if not kinds or "choice" not in kinds | {record.answer_type}:
            turns.append(record)
    return turns


def encode_answers(tokenizer: Any, records: Sequence[Record], max_length: int, extended: bool) -> list[int]:
    """The text of a graph node: the distinct answers of an image joined by ``". "`` (ExGra-Med, section 1.2).

    In the order of the record ids, whatever the order of the turns, so that equal answers are equal texts.
    """
    ordered = sorted(records, key=lambda record: record.id)
    answers = dict.fromkeys(record.extended if extended else record.answer for record in ordered)
    return list(tokenizer(". ".join(answers), truncation=True, max_length=max_length)["input_ids"])


def _refuse_marks(tokenizer: Any, record: Record, text: str) -> None:
    """A special token in the data would end an answer or ask for a second image."""
    for mark in (*tokenizer.all_special_tokens, chat_format(tokenizer).end):
        if mark in text:
            raise DataError(f"record {record.id}: its text contains the special token {mark!r}; remove it: {text!r}")


def _expand(tokenizer: Any, sequence: list[int], image_tokens: int, ids: list[int] | None = None) -> list[int]:
    """Repeat the entry at the ``<image>`` token ``image_tokens`` times."""
    if image_tokens == 0:
        return list(sequence)
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_MARK)
    at = (ids or sequence).index(image_id)
    return [*sequence[:at], *([sequence[at]] * image_tokens), *sequence[at + 1 :]]
