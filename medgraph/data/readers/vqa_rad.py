"""VQA-RAD (Lau et al., Scientific Data 2018, doi:10.1038/sdata.2018.251): radiology questions by clinicians.

Two published forms are read: the pair ``trainset.json`` and ``testset.json`` (3,064 and 451 questions), and the single
public file with 2,248 rows, whose test rows are those with ``phrase_type`` ``test_freeform`` or ``test_para`` and whose
rephrased questions are rows of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.config import VQARADConfig
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.policy import Policy
from medgraph.data.readers.common import make_corpus, qa_record, text_field
from medgraph.data.records import AnswerType, Corpus, Record

ORGANS = {"CHEST": "Chest", "ABD": "Abdomen", "HEAD": "Brain"}

_TYPES = {"atrib": "ATTRIB", "prse": "PRES"}
"""Misspelt question types of the release."""


def build_vqa_rad(config: VQARADConfig) -> Corpus:
    """Read VQA-RAD.

    Raises:
        DataError: for missing files and malformed records.
    """
    root, policy = Path(config.root), Policy.of(config)
    splits: dict[str, list[Record]] = {"train": [], "test": []}
    for split, record in policy.usable(_record, _rows(root)):
        splits[split].append(record)
    return make_corpus(splits, root, config, policy)


@dataclass(frozen=True, slots=True)
class _Row:
    """One question as it lies in a file."""

    split: str
    file: Path
    raw: Any
    position: int


def _rows(root: Path) -> Iterator[_Row]:
    if (root / "trainset.json").is_file():
        for name in ("train", "test"):
            file = root / f"{name}set.json"
            for position, raw in enumerate(read_json_list(file)):
                yield _Row(name, file, raw, position)
        return
    files = [path for path in sorted(root.glob("*.json")) if "rad" in path.name.lower()]
    if not files:
        raise DataError.at("file_missing", root, found=sorted(path.name for path in root.glob("*"))[:8],
                           expected="trainset.json and testset.json, or the public VQA-RAD JSON file",
                           fix="set data.root to the folder that holds them")  # fmt: skip
    for position, raw in enumerate(read_json_list(files[0])):
        phrase = raw.get("phrase_type") if isinstance(raw, Mapping) else None
        yield _Row("test" if str(phrase).startswith("test") else "train", files[0], raw, position)


def _record(row: _Row) -> tuple[str, Record]:
    raw, file, name = row.raw, row.file, f"{row.split}-{row.position}"
    where = raw.get("qid", name) if isinstance(raw, Mapping) else name
    field = {key: text_field(raw, key, file, where) for key in ("image_name", "question", "answer", "answer_type")}
    organ = text_field(raw, "image_organ", file, where).upper()
    return row.split, qa_record(
        "vqa-rad",
        name,
        f"images/{field['image_name']}",
        field["question"],
        field["answer"],
        kind=_answer_type(field["answer_type"], file, where),
        question_type=_question_type(text_field(raw, "question_type", file, where)),
        modality="radiology",
        area=ORGANS.get(organ, organ.capitalize()),
    )


def _answer_type(text: str, file: Path, name: object) -> AnswerType:
    if text.upper() not in ("CLOSED", "OPEN"):
        raise DataError.at("bad_answer_type", file, record=name, field="answer_type", found=text,
                           expected="CLOSED or OPEN", fix="correct the record")  # fmt: skip
    return "closed" if text.upper() == "CLOSED" else "open"


def _question_type(text: str) -> str:
    """Canonical form of one or several question types: ``"PRES, ATRIB"`` becomes ``attrib, pres``.

    Example:
        >>> _question_type("PRES, ATRIB"), _question_type("PRSE")
        ('attrib, pres', 'pres')
    """
    parts = (part.strip().lower() for part in re.split(r",", text))
    return ", ".join(sorted(_TYPES.get(part, part).lower() for part in parts if part))
