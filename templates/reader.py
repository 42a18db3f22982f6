"""Reader of MySet (authors, venue and year, doi or arXiv id): what is asked about which images.

A table with one question a row needs no reader: `data=manifest`, with `data.columns.*` for other column names. To add a
reader to MedGraph:

1. this file as medgraph/data/readers/my_set.py, without `MySetConfig`;
2. `MySetConfig` in medgraph/config/sources.py, and its name in `DATA` at the end of that file;
3. `"my_set": "readers.my_set:build_my_set"` in `BUILDERS` of medgraph/data/__init__.py;
4. tests/data/readers/test_my_set.py, which writes its own few records, and a row in docs/data.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from medgraph.config import QuestionsConfig
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.policy import Policy
from medgraph.data.readers.common import make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

FILE = "questions.json"
SPLITS = ("train", "val", "test")


@dataclass
class MySetConfig(QuestionsConfig):
    """MySet (doi or arXiv id)."""

    name: str = "my_set"

    EXPECTS: ClassVar[str] = f"the folder that holds {FILE} and images/"


def build_my_set(config: MySetConfig) -> Corpus:
    """Read MySet; every record that cannot be used is an error, or is left out and counted (`data.on_error`).

    Raises:
        DataError: for missing files and malformed records.
    """
    root, policy = Path(config.root), Policy.of(config)
    splits: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for split, record in policy.usable(lambda row: _record(row, root / FILE), read_json_list(root / FILE)):
        splits[split].append(record)
    return make_corpus(splits, root, config, policy)


def _record(raw: Any, file: Path) -> tuple[str, Record]:
    """Split and record of one entry: ``{"id", "split", "patient", "image", "question", "answer"}``."""
    name = text_field(raw, "id", file, raw.get("image") if isinstance(raw, dict) else raw)
    split = text_field(raw, "split", file, name)
    if split not in SPLITS:
        raise DataError.at("bad_split", file, record=name, field="split", found=split,
                           expected=f"one of {', '.join(SPLITS)}", fix="correct the record")  # fmt: skip
    image = text_field(raw, "image", file, name)
    return split, qa_record(
        "my-set",
        name,
        f"images/{image}",
        text_field(raw, "question", file, name),
        text_field(raw, "answer", file, name),
        modality="CT",
        area="Lung",
        group=text_field(raw, "patient", file, name),  # never split: without it images of a patient leak into the test
    )
