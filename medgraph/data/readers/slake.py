"""SLAKE (Liu et al., ISBI 2021, arXiv:2102.09542): bilingual radiology questions with stated splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.readers.common import SplitRule, make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

FILES = {"train": ("train.json",), "val": ("validate.json", "validation.json", "val.json"), "test": ("test.json",)}


def read_slake(
    root: Path,
    language: Literal["en", "zh", "both"] = "en",
    rule: SplitRule = "official",
    fraction: float = 1.0,
    seed: int = 0,
) -> Corpus:
    """Read SLAKE.

    Args:
        root: folder with ``train.json``, ``validate.json``, ``test.json`` and ``imgs/``.
        language: which questions to keep.
        rule: see `medgraph.data.readers.common.SplitRule`.
        fraction: share of the training images.
        seed: seed of the groups held back for ``task``.

    Raises:
        DataError: for missing files and malformed records.
        ValueError: for an unknown language.
    """
    if language not in ("en", "zh", "both"):
        raise ValueError(f"language {language!r}: expected en, zh or both")
    splits: dict[str, list[Record]] = {}
    for name, candidates in FILES.items():
        file = next((root / file for file in candidates if (root / file).is_file()), root / candidates[0])
        rows = [_row(raw, file, i) for i, raw in enumerate(read_json_list(file))]
        splits[name] = [record for spoken, record in rows if language in (spoken, "both")]
    return make_corpus(splits, root, rule, fraction, seed)


def _row(raw: Any, file: Path, position: int) -> tuple[str, Record]:
    """Language and record of one row."""
    name = text_field(raw, "qid", file, f"at position {position}")
    field = {
        key: text_field(raw, key, file, name)
        for key in ("img_name", "question", "answer", "answer_type", "q_lang", "content_type", "modality", "location")
    }
    if field["answer_type"].upper() not in ("OPEN", "CLOSED"):
        raise DataError.at("bad_answer_type", file, record=name, field="answer_type", found=field["answer_type"],
                           expected="OPEN or CLOSED", fix="correct the record")  # fmt: skip
    record = qa_record(
        "slake",
        name,
        f"imgs/{field['img_name']}",
        field["question"],
        field["answer"],
        kind="closed" if field["answer_type"].upper() == "CLOSED" else "open",
        question_type=field["content_type"].lower(),
        modality=field["modality"],
        area=field["location"],
    )
    return field["q_lang"].lower(), record
