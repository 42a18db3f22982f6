"""Instruction data in the form of LLaVA, LLaVA-Med and ExGra-Med: turns of a human and a model about one image.

ExGra-Med (arXiv:2410.02615) adds ``conversations_long``: the same turns with the answers rewritten by a language model.
The misspelt keys of the LLaVA-Med release (``conversatons``, ``conversatons_long``) are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medgraph.config import ConversationsConfig
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.policy import Policy
from medgraph.data.readers.common import make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

SUBSET = "instruct"
"""Name of the subset that conversations belong to."""

DOMAINS = {"chest_xray": "X-ray", "ct_scan": "CT", "mri": "MRI", "histology": "Mic", "gross": "DP"}
"""Domain flags of LLaVA-Med's release, and the modality they stand for."""


def build_conversations(config: ConversationsConfig) -> Corpus:
    """Read a JSON file of conversations.

    Returns:
        One record a pair of turns, in order (`Corpus.ordered`); ``extended`` is the long answer where there is one.

    Raises:
        DataError: for turns that do not alternate, lists of different length, or empty answers.
    """
    file, policy = Path(config.root), Policy.of(config)
    root = Path(config.images) if config.images else image_folder(file)
    conversations = list(policy.usable(partial(parse_conversation, file), enumerate(read_json_list(file))))
    policy.notes["conversations"] = len(conversations)
    policy.notes["conversations with long answers"] = sum(has_long for _, has_long in conversations)
    records = [record for turns, _ in conversations for record in turns]
    return make_corpus({"train": records}, root, config, policy, ordered={SUBSET})


def image_folder(file: Path) -> Path:
    """Where the images of a conversation file are: ``images/`` beside it, else its own folder."""
    beside = file.parent / "images"
    return beside if beside.is_dir() else file.parent


def parse_conversation(file: Path, row: tuple[int, Any]) -> tuple[list[Record], bool]:
    """Records of a conversation, one a pair of turns, and whether it has long answers.

    Args:
        file: named in errors.
        row: position in the file, and the conversation.

    Raises:
        DataError: as `build_conversations`.
    """
    position, raw = row
    name = text_field(raw, "id", file, f"at position {position}")
    image = text_field(raw, "image", file, name)
    pairs = _pairs(_turns(raw, "", file, name), file, name)
    longer = _turns(raw, "_long", file, name)
    long_pairs = _pairs(longer, file, name) if longer else [("", "")] * len(pairs)
    if not pairs or len(long_pairs) != len(pairs):
        raise DataError.at("turns_differ", file, record=name, field="conversations_long", found=len(long_pairs),
                           expected=f"as many pairs of turns as conversations has ({len(pairs) or 'at least 1'})",
                           fix="write the long answers again")  # fmt: skip
    records = [
        qa_record(SUBSET, f"{position}-{name}/{i}", image, question, answer, question_type="instruction",
                  modality=_modality(raw), extended=long_answer)
        for i, ((question, answer), (_, long_answer)) in enumerate(zip(pairs, long_pairs, strict=True))
    ]  # fmt: skip
    return records, bool(longer)


def _turns(raw: Mapping[str, Any], suffix: str, file: Path, name: str) -> Sequence[Any]:
    keys = (f"conversations{suffix}", f"conversatons{suffix}")
    turns: Any = next((raw[key] for key in keys if key in raw), [] if suffix else None)
    if not isinstance(turns, list):
        raise DataError.at("wrong_type", file, record=name, field=keys[0], found=turns, expected="a list of turns",
                           fix="complete the record")  # fmt: skip
    return turns


def _pairs(turns: Sequence[Any], file: Path, name: str) -> list[tuple[str, str]]:
    """Question and answer of each pair of turns; the image mark is removed from the questions."""
    senders = [turn.get("from") if isinstance(turn, Mapping) else None for turn in turns]
    if senders != ["human", "gpt"] * (len(turns) // 2):
        raise DataError.at("turns_out_of_order", file, record=name, field="conversations", found=senders,
                           expected="turns that alternate between human and gpt", fix="correct the turns")  # fmt: skip
    texts = [text_field(turn, "value", file, name) for turn in turns]
    questions = [question.replace("<image>", "").strip() for question in texts[::2]]
    return list(zip(questions, texts[1::2], strict=True))


def _modality(raw: Mapping[str, Any]) -> str:
    flags = raw.get("domain")
    flags = flags if isinstance(flags, Mapping) else {}
    return next((modality for key, modality in DOMAINS.items() if flags.get(key)), "unspecified")
