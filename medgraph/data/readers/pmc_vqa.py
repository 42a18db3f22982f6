"""PMC-VQA (Zhang et al., arXiv:2305.10415): choice questions about figures of articles, as CSV files.

Version 1 gives the answer as text and its letter in ``Answer_label``; version 2 (``*_2.csv``) gives the letter in
``Answer``. Choices carry their letter (`` A: …``), which is removed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from medgraph.data.errors import DataError
from medgraph.data.questions import same
from medgraph.data.readers.common import SplitRule, lettered, make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

CHOICES = ("Choice A", "Choice B", "Choice C", "Choice D")


def read_pmc_vqa(
    root: Path, version: int = 2, rule: SplitRule = "official", fraction: float = 1.0, seed: int = 0
) -> Corpus:
    """Read PMC-VQA.

    Args:
        root: folder with the CSV files and ``images/`` (``figures/`` for version 2).
        version: 1 (``train.csv``, ``test.csv``) or 2 (``train_2.csv``, ``test_2.csv``).
        rule: see `medgraph.data.readers.common.SplitRule`. Figures of one article (``PMC…``) are one group.
        fraction: share of the training images.
        seed: seed of the groups held back for ``val`` and ``task``.

    Raises:
        DataError: for missing files and malformed rows.
        ValueError: for an unknown version.
    """
    if version not in (1, 2):
        raise ValueError(f"version={version}: expected 1 or 2")
    folder = "figures" if version == 2 and (root / "figures").is_dir() else "images"
    splits = {
        name: _rows(root / (f"{name}.csv" if version == 1 else f"{name}_2.csv"), folder, name)
        for name in ("train", "test")
    }
    return make_corpus(splits, root, rule, fraction, seed)


def _rows(path: Path, folder: str, split: str) -> list[Record]:
    if not path.is_file():
        raise DataError.at("file_missing", path, found=None, expected="a CSV file of PMC-VQA", fix="check data.root")
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [_record(row, path, folder, f"{split}-{i}") for i, row in enumerate(csv.DictReader(file))]


def _record(row: Mapping[str, str], path: Path, folder: str, name: str) -> Record:
    options = tuple(
        re.sub(rf"^{key[-1]}\s*[:.)]\s*", "", text_field(row, key, path, name)) for key in CHOICES if row.get(key)
    )
    stated = text_field(row, "Answer_label" if row.get("Answer_label") else "Answer", path, name)
    answer = lettered(options, stated, path, name)
    text = row.get("Answer", "")
    if row.get("Answer_label") and same(text) not in (same(answer), same(stated)):
        raise DataError.at("answer_mismatch", path, record=name, field="Answer_label", found=f"{stated}: {answer}",
                           expected=f"the letter of {text!r}", fix="correct the letter")  # fmt: skip
    figure = text_field(row, "Figure_path", path, name)
    article = re.match(r"PMC\d+", figure)
    return qa_record("pmc-vqa", name, f"{folder}/{figure}", text_field(row, "Question", path, name), answer,
                     options=options, group=article[0] if article else "")  # fmt: skip
