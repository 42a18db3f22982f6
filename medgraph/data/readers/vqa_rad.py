"""VQA-RAD (Lau et al., Scientific Data 2018, doi:10.1038/sdata.2018.251): radiology questions by clinicians.

Two published forms are read: the pair ``trainset.json`` and ``testset.json`` (3,064 and 451 questions), and the single
public file with 2,248 rows, whose test rows are those with ``phrase_type`` ``test_freeform`` or ``test_para`` and whose
rephrased questions are rows of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.readers.common import SplitRule, make_corpus, qa_record, text_field
from medgraph.data.records import AnswerType, Corpus, Record

ORGANS = {"CHEST": "Chest", "ABD": "Abdomen", "HEAD": "Brain"}

_TYPES = {"atrib": "ATTRIB", "prse": "PRES"}
"""Misspelt question types of the release."""


def read_vqa_rad(root: Path, rule: SplitRule = "official", fraction: float = 1.0, seed: int = 0) -> Corpus:
    """Read VQA-RAD.

    Args:
        root: folder with the JSON file(s) and ``images/``.
        rule: the published split shares its images between training and test; ``clean`` removes them from training.
        fraction: share of the training images.
        seed: seed of the groups held back for ``val`` and ``task``.

    Raises:
        DataError: for missing files and malformed records.
    """
    splits: dict[str, list[Record]] = {"train": [], "test": []}
    for name, file, raw, position in _rows(root):
        record = _record(raw, file, f"{name}-{position}")
        splits[name].append(record)
    return make_corpus(splits, root, rule, fraction, seed)


def _rows(root: Path) -> Iterator[tuple[str, Path, Any, int]]:
    """Split name, file, raw record and position of every row."""
    if (root / "trainset.json").is_file():
        for name in ("train", "test"):
            file = root / f"{name}set.json"
            for position, raw in enumerate(read_json_list(file)):
                yield name, file, raw, position
        return
    files = [path for path in sorted(root.glob("*.json")) if "rad" in path.name.lower()]
    if not files:
        raise DataError.at("file_missing", root, found=sorted(path.name for path in root.glob("*"))[:8],
                           expected="trainset.json and testset.json, or the public VQA-RAD JSON file",
                           fix="set data.root to the folder that holds them")  # fmt: skip
    for position, raw in enumerate(read_json_list(files[0])):
        phrase = text_field(raw, "phrase_type", files[0], f"at position {position}")
        yield ("test" if phrase.startswith("test") else "train"), files[0], raw, position


def _record(raw: Any, file: Path, name: str) -> Record:
    where = raw.get("qid", name) if isinstance(raw, Mapping) else name
    field = {key: text_field(raw, key, file, where) for key in ("image_name", "question", "answer", "answer_type")}
    organ = text_field(raw, "image_organ", file, where).upper()
    return qa_record(
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
