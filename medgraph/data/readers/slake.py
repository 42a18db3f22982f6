"""SLAKE (Liu et al., ISBI 2021, arXiv:2102.09542): bilingual radiology questions with stated splits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from medgraph.config import SlakeConfig
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.policy import Policy
from medgraph.data.readers.common import make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

FILES = {"train": ("train.json",), "val": ("validate.json", "validation.json", "val.json"), "test": ("test.json",)}


def build_slake(config: SlakeConfig) -> Corpus:
    """Read SLAKE.

    Raises:
        DataError: for missing files and malformed records.
    """
    root, policy = Path(config.root), Policy.of(config)
    splits: dict[str, list[Record]] = {}
    for name, candidates in FILES.items():
        file = next((root / file for file in candidates if (root / file).is_file()), root / candidates[0])
        rows = policy.usable(partial(_row, file), enumerate(read_json_list(file)))
        splits[name] = [record for spoken, record in rows if config.language in (spoken, "both")]
    return make_corpus(splits, root, config, policy)


def _row(file: Path, row: tuple[int, Any]) -> tuple[str, Record]:
    """Language and record of one row."""
    position, raw = row
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
