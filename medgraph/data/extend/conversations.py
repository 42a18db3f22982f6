"""Conversations to be extended: read from a conversation file or made from any corpus, written in the released layout.

The layout is ExGra-Med's (arXiv:2410.02615): each record keeps its ``conversations`` and gets ``conversations_long``,
the same turns with the answers rewritten.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.data.conversation import IMAGE_MARK
from medgraph.data.medmat_files import read_json_list
from medgraph.data.readers.conversations import DOMAINS, parse_conversation
from medgraph.data.records import Record
from medgraph.files import replacing


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions and short answers about one image.

    Attributes:
        id: unique in the job; the journal knows answers by it.
        raw: the record as it is written, without long answers.
        records: one a pair of turns.
        long: the answers it already has in a longer form, or none.
    """

    id: str
    raw: Mapping[str, Any]
    records: tuple[Record, ...]
    long: tuple[str, ...] = ()


def from_file(file: Path) -> list[Conversation]:
    """Read a conversation file; other fields of its records are kept as they are.

    Raises:
        DataError: as the reader of conversations.
    """
    found = []
    for position, raw in enumerate(read_json_list(file)):
        records, has_long = parse_conversation(file, (position, raw))
        long = tuple(record.extended for record in records) if has_long else ()
        kept = {key: value for key, value in raw.items() if key not in ("conversations_long", "conversatons_long")}
        found.append(Conversation(str(raw["id"]), kept, tuple(records), long))
    return found


def from_records(records: Iterable[Record]) -> list[Conversation]:
    """Make a conversation of the records of each image, in their order.

    Choice questions are asked without options; a question that is thereby asked twice is asked once.
    """
    by_image: dict[str, dict[tuple[str, str], Record]] = {}
    for record in records:
        by_image.setdefault(record.image_id, {}).setdefault((record.question, record.answer), record)
    return [
        Conversation(image, _raw(image, tuple(turns.values())), tuple(turns.values()))
        for image, turns in by_image.items()
    ]


def _raw(image: str, records: Sequence[Record]) -> dict[str, Any]:
    questions = [f"{IMAGE_MARK}\n{records[0].question}", *(record.question for record in records[1:])]
    turns = [
        {"from": sender, "value": text}
        for question, record in zip(questions, records, strict=True)
        for sender, text in (("human", question), ("gpt", record.answer))
    ]
    domain = {flag: modality == records[0].triplet.modality for flag, modality in DOMAINS.items()}
    known = {"domain": domain} if any(domain.values()) else {}
    return {"id": image, "image": records[0].image, **known, "conversations": turns}


def join(sources: Sequence[tuple[Path, Sequence[Conversation]]]) -> tuple[Path, list[Conversation]]:
    """Put data sets together: ids become unique, images relative to a common folder.

    Args:
        sources: the folder of the images, and the conversations about them.

    Returns:
        The folder that all images are below, and the conversations.
    """
    root = Path(os.path.commonpath([folder.absolute() for folder, _ in sources]))
    seen: Counter[str] = Counter()
    joined = []
    for folder, conversations in sources:
        for conversation in conversations:
            seen[conversation.id] += 1
            image = (folder.absolute() / conversation.raw["image"]).relative_to(root).as_posix()
            raw, name = {**conversation.raw, "image": image}, conversation.id
            if seen[name] > 1:
                name = raw["id"] = f"{name}#{seen[name]}"
            joined.append(Conversation(name, raw, conversation.records, conversation.long))
    return root, joined


def write_long(file: Path, conversations: Sequence[Conversation], long: Mapping[str, Sequence[str]]) -> None:
    """Write the released layout, one record a line; the file is whole or as it was before.

    Args:
        file: a JSON list that `medgraph.data.readers.conversations` reads.
        conversations: in the order of the file.
        long: long answers by conversation id; a conversation that is not in it is written without.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part, part.open("w", encoding="utf-8") as out:
        for i, record in enumerate(_records(conversations, long)):
            out.write(f"{',' if i else '['}\n{json.dumps(record, ensure_ascii=False)}")
        out.write("\n]\n")


def _records(conversations: Sequence[Conversation], long: Mapping[str, Sequence[str]]) -> Iterator[Mapping[str, Any]]:
    for conversation in conversations:
        answers = long.get(conversation.id)
        if answers is None:
            yield conversation.raw
            continue
        turns = conversation.raw.get("conversations", conversation.raw.get("conversatons"))
        replies = [{**turn, "value": answer} for turn, answer in zip(turns[1::2], answers, strict=True)]
        rewritten = [turn for pair in zip(turns[::2], replies, strict=True) for turn in pair]
        yield {**conversation.raw, "conversations_long": rewritten}
