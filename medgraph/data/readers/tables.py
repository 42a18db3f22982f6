"""Rows of CSV, TSV, JSON, JSONL, Parquet and Hugging Face `datasets`, one at a time where the format permits."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list

if TYPE_CHECKING:
    import datasets

Row = Mapping[str, Any]

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
               "test": "test", "testing": "test"}  # fmt: skip
"""Words for a split, in columns and in the names of files and folders."""
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def read_rows(file: Path) -> Iterator[Row]:
    """Rows of a table.

    Raises:
        DataError: for a missing file, an unknown format or encoding, or a line of JSON that is cut off.
    """
    if not file.is_file():
        raise DataError.at("file_missing", file, found=None, expected="a table", fix="check the path")
    try:
        yield from _rows(file)
    except UnicodeDecodeError as error:
        raise DataError.at("bad_encoding", file, found=error.object[error.start : error.end], expected="text in UTF-8",
                           fix=f"convert it: iconv -f LATIN1 -t UTF-8 {file.name}") from error  # fmt: skip


def _rows(file: Path) -> Iterator[Row]:
    if file.suffix in (".csv", ".tsv"):
        with file.open(newline="", encoding="utf-8-sig") as lines:
            yield from csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")
    elif file.suffix == ".jsonl":
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    where, expected = f"line {number}", "one JSON object a line"
                    raise DataError.at("json_unreadable", file, record=where, found=line.strip(), expected=expected,
                                       fix="write the line again") from error  # fmt: skip
    elif file.suffix == ".json":
        yield from read_json_list(file)
    elif file.suffix == ".parquet":
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # ships no stubs

        for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    else:
        raise DataError.at("unknown_format", file, found=file.suffix, fix="convert the table",
                           expected=f"one of {', '.join(SUFFIXES)}")  # fmt: skip


def read_folder_rows(folder: Path) -> Iterator[Row]:
    """Rows of a Hugging Face data set on disk.

    Args:
        folder: written by ``save_to_disk``, or one that holds tables. The split of a table is the first word of its
            name or of its folder (``train-00000-of-00002.parquet``, ``test/part.jsonl``).

    Yields:
        Rows, with ``split`` where it is known and the row does not say it itself.

    Raises:
        DataError: if there is no table.
    """
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        import datasets

        yield from dataset_rows(datasets.load_from_disk(str(folder)))
        return
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not files:
        raise DataError.at("file_missing", folder, found=sorted(path.name for path in folder.glob("*"))[:8],
                           expected=f"a folder of save_to_disk, or files that end in {', '.join(SUFFIXES)}",
                           fix="set data.root to the folder that holds them")  # fmt: skip
    for file in files:
        split = _split_of(file, folder)
        for row in read_rows(file):
            yield {"split": split, **row} if split else row


def dataset_rows(dataset: datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset) -> Iterator[Row]:
    """Rows of a `datasets` object: images stay encoded, class labels become names.

    Args:
        dataset: a table, a stream, or several of them by split.
    """
    import datasets

    tables = dataset.items() if isinstance(dataset, Mapping) else [("", dataset)]
    for split, table in tables:
        names: dict[str, Any] = {}
        for column, feature in (table.features or {}).items():
            if isinstance(feature, datasets.Image):
                table = table.cast_column(column, datasets.Image(decode=False))
            elif isinstance(feature, datasets.ClassLabel):
                names[column] = feature.int2str
        rows: Iterable[Row] = table
        for row in rows:
            named = {column: name(row[column]) for column, name in names.items() if row[column] is not None}
            yield {**({"split": split} if split else {}), **row, **named}


def _split_of(file: Path, folder: Path) -> str:
    for part in reversed(file.relative_to(folder).parts):
        word = re.match(r"[a-z]+", part.lower())
        if word and word[0] in SPLIT_NAMES:
            return SPLIT_NAMES[word[0]]
    return ""
