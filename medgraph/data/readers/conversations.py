"""Instruction data in the form of LLaVA, LLaVA-Med and ExGra-Med: turns of a human and a model about one image.

ExGra-Med (arXiv:2410.02615) adds ``conversations_long``: the same turns with the answers rewritten by a language model.
The misspelt keys of the LLaVA-Med release (``conversatons``, ``conversatons_long``) are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.readers.common import make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

DOMAINS = {"chest_xray": "X-ray", "ct_scan": "CT", "mri": "MRI", "histology": "Mic", "gross": "DP"}
"""Domain flags of LLaVA-Med's release, and the modality they stand for."""


def read_conversations(
    file: Path, images: Path | None = None, fraction: float = 1.0, seed: int = 0, dataset: str = "instruct"
) -> Corpus:
    """Read a JSON file of conversations.

    Args:
        file: a list of ``{"id", "image", "conversations": [{"from": "human"|"gpt", "value"}, …]}``.
        images: folder of the images; None: ``images/`` beside the file, or the file's folder.
        fraction: share of the training images.
        seed: seed of the groups held back for ``val`` and ``task``.
        dataset: name of the subset.

    Returns:
        One record a pair of turns; ``extended`` is the long answer where there is one. No test split.

    Raises:
        DataError: for turns that do not alternate, lists of different length, or empty answers.
    """
    root = images or (file.parent / "images" if (file.parent / "images").is_dir() else file.parent)
    records, long = [], 0
    for position, raw in enumerate(read_json_list(file)):
        rows, has_long = _conversation(raw, file, position, dataset)
        records.extend(rows)
        long += has_long
    notes = {"conversations with long answers": long, "conversations": len({record.image_id for record in records})}
    return make_corpus({"train": records}, root, fraction=fraction, seed=seed, notes=notes)


def _conversation(raw: Any, file: Path, position: int, dataset: str) -> tuple[list[Record], bool]:
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
        qa_record(dataset, f"{position}-{name}/{i}", image, question, answer, question_type="instruction",
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
