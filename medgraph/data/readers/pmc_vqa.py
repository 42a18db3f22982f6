"""PMC-VQA (Zhang et al., arXiv:2305.10415): choice questions about figures of articles, as CSV files.

Version 1 gives the answer as text and its letter in ``Answer_label``; version 2 (``*_2.csv``) gives the letter in
``Answer``. Choices carry their letter (`` A: …``), which is removed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from medgraph.config import ConfigError, PMCVQAConfig
from medgraph.data.errors import DataError
from medgraph.data.policy import Policy
from medgraph.data.questions import same
from medgraph.data.readers.common import lettered, make_corpus, qa_record, text_field
from medgraph.data.records import Corpus, Record

CHOICES = ("Choice A", "Choice B", "Choice C", "Choice D")


def build_pmc_vqa(config: PMCVQAConfig) -> Corpus:
    """Read PMC-VQA; figures of one article (``PMC…``) are one group.

    Raises:
        DataError: for missing files and malformed rows.
        ConfigError: for an unknown version.
    """
    if config.version not in (1, 2):
        raise ConfigError(f"data.version={config.version}: expected 1 or 2")
    root, policy = Path(config.root), Policy.of(config)
    folder = "figures" if config.version == 2 and (root / "figures").is_dir() else "images"
    suffix = ".csv" if config.version == 1 else "_2.csv"
    splits = {
        name: list(
            policy.usable(partial(_record, root / f"{name}{suffix}", folder, name), _rows(root / f"{name}{suffix}"))
        )
        for name in ("train", "test")
    }
    return make_corpus(splits, root, config, policy)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    if not path.is_file():
        raise DataError.at("file_missing", path, found=None, expected="a CSV file of PMC-VQA", fix="check data.root")
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from enumerate(csv.DictReader(file))


def _record(path: Path, folder: str, split: str, numbered: tuple[int, Mapping[str, str]]) -> Record:
    number, row = numbered
    name = f"{split}-{number}"
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
