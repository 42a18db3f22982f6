"""A table with one row a question or one row a labelled image: CSV, TSV, JSON, JSONL, Parquet, or a `datasets` object.

Columns: ``image``, and either ``label`` or ``question`` and ``answer``. Optional: ``id``, ``options`` (a list, or text
separated by ``|``), ``answer_type``, ``question_type``, ``modality``, ``area``, ``task``, ``subset``, ``group`` (what
must not be split), ``split`` (train, val, test) and ``extended``. Other names are mapped by ``columns``.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from medgraph.data.assemble import assemble_held_out
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import read_json_list
from medgraph.data.paths import refused, safe_relative
from medgraph.data.readers.common import SplitRule, make_corpus, qa_record, require_images, text_field
from medgraph.data.readers.folder import SPLIT_FOLDERS
from medgraph.data.readers.labelled import LabelledImage, make_subset
from medgraph.data.records import AnswerType, Corpus, Record
from medgraph.data.registry import SubsetSpec
from medgraph.data.vocabulary import parse_triplet

Row = Mapping[str, Any]


def read_manifest(
    file: Path,
    images: Path | None = None,
    columns: Mapping[str, str] | None = None,
    rule: SplitRule = "official",
    fraction: float = 1.0,
    seed: int = 0,
) -> Corpus:
    """Read a table of questions or of labelled images.

    Args:
        file: the table, or a folder written by ``datasets.Dataset.save_to_disk``.
        images: folder that ``image`` is relative to, and that images stored inside the table are written to; None: the
            folder of the table.
        columns: our column name to the table's.
        rule: for tables of questions, see `medgraph.data.readers.common.SplitRule`.
        fraction: share of the training images.
        seed: seed of splits and questions.

    Raises:
        DataError: for columns that are missing and values that are wrong, naming file, row and column.
    """
    root = images or (file if file.is_dir() else file.parent)
    return corpus_from_rows(read_rows(file), file, root, columns, rule, fraction, seed)


def corpus_from_rows(
    rows: Iterable[Row],
    file: Path,
    root: Path,
    columns: Mapping[str, str] | None = None,
    rule: SplitRule = "official",
    fraction: float = 1.0,
    seed: int = 0,
) -> Corpus:
    """Make a corpus of any iterable of rows, for instance a streaming `datasets.IterableDataset`.

    Args:
        rows: mappings from column to value.
        file: name of the table in errors.
        root: folder of the images.
        columns: our column name to the table's.
        rule: see `read_manifest`.
        fraction: share of the training images.
        seed: seed of splits and questions.

    Raises:
        DataError: as `read_manifest`.
    """
    splits: dict[str, list[Record]] = {}
    labelled: dict[str, tuple[SubsetSpec, list[LabelledImage]]] = {}
    for number, raw in enumerate(rows, start=1):
        row = {ours: raw[theirs] for ours, theirs in (columns or {}).items() if theirs in raw} | dict(raw)
        if row.get("image") is None or not ("label" in row or "question" in row):
            raise DataError.at("missing_column", file, record=f"row {number}", found=sorted(raw),
                               expected="image, and either label or question and answer",
                               fix="name the table's columns with columns={'image': …}")  # fmt: skip
        image = _image(row["image"], root, file, number)
        split = _split(row, file, number)
        if "question" in row:
            splits.setdefault(split or "train", []).append(_question(row, image, file, number))
        else:
            spec = _spec(row, file, number, len(labelled))
            _, members = labelled.setdefault(spec.key, (spec, []))
            label, group = text_field(row, "label", file, f"row {number}"), str(row.get("group") or "")
            members.append(LabelledImage(image, label, group, split))
    if labelled:
        require_images({image.image: image.image for _, members in labelled.values() for image in members}, root)
        subsets = [make_subset(spec, members, seed) for spec, members in labelled.values()]
        return assemble_held_out(subsets, root, fraction=fraction, seed=seed)
    return make_corpus(splits, root, rule, fraction, seed)


def read_rows(file: Path) -> Iterator[Row]:
    """Rows of a table, one at a time where the format permits.

    Raises:
        DataError: for a missing file, an unknown format, or a line of JSON that is cut off.
    """
    if file.is_dir():
        yield from _saved_dataset(file)
    elif not file.is_file():
        raise DataError.at("file_missing", file, found=None, expected="a table", fix="check the path")
    elif file.suffix in (".csv", ".tsv"):
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
                           expected=".csv, .tsv, .json, .jsonl, .parquet or a folder of save_to_disk")  # fmt: skip


def _saved_dataset(folder: Path) -> Iterator[Row]:
    import datasets

    loaded = datasets.load_from_disk(str(folder))
    for split, table in loaded.items() if isinstance(loaded, datasets.DatasetDict) else [("", loaded)]:
        for name, feature in table.features.items():
            if isinstance(feature, datasets.Image):
                table = table.cast_column(name, datasets.Image(decode=False))
        yield from ({"split": split, **row} if split else row for row in table)


def _image(value: Any, root: Path, file: Path, number: int) -> str:
    """Path of an image relative to the root; an image stored in the table is written there, named by its content."""
    if isinstance(value, str):
        try:
            return safe_relative(value, root)
        except ValueError as error:
            raise refused(value, error, file, f"row {number}") from error
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(content, bytes):
        raise DataError.at("wrong_type", file, record=f"row {number}", field="image", found=type(value).__name__,
                           expected="a path, or the bytes of an image file",
                           fix="cast the column to datasets.Image(decode=False)")  # fmt: skip
    relative = f"extracted/{hashlib.sha256(content).hexdigest()[:20]}.img"
    target = root / relative
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part")
        partial.write_bytes(content)
        partial.replace(target)
    return relative


def _split(row: Row, file: Path, number: int) -> str:
    text = str(row.get("split") or "").strip().lower()
    if text and text not in SPLIT_FOLDERS:
        raise DataError.at("bad_split", file, record=f"row {number}", field="split", found=row["split"],
                           expected="train, val or test", fix="correct the column")  # fmt: skip
    return SPLIT_FOLDERS.get(text, "")


def _question(row: Row, image: str, file: Path, number: int) -> Record:
    where = f"row {number}"
    raw = row.get("options") or ()
    options = tuple(str(option).strip() for option in (raw.split("|") if isinstance(raw, str) else raw))
    answer = text_field(row, "answer", file, where)
    if options and answer not in options:
        raise DataError.at("answer_mismatch", file, record=where, field="answer", found=answer,
                           expected=f"one of {list(options)}", fix="write the text of the right option")  # fmt: skip
    kind = str(row.get("answer_type") or "").strip().lower()
    if kind and kind not in get_args(AnswerType):
        raise DataError.at("bad_answer_type", file, record=where, field="answer_type", found=kind,
                           expected=" or ".join(get_args(AnswerType)), fix="correct the column")  # fmt: skip
    given = {key: str(row[key]) for key in ("question_type", "modality", "area", "group", "extended") if row.get(key)}
    return qa_record(str(row.get("subset") or file.stem), str(row.get("id") or number), image,
                     text_field(row, "question", file, where), answer,
                     kind=kind or None, options=options, **given)  # type: ignore[arg-type]  # fmt: skip


def _spec(row: Row, file: Path, number: int, known: int) -> SubsetSpec:
    elements = [text_field(row, name, file, f"row {number}") for name in ("modality", "area", "task")]
    try:
        triplet = parse_triplet("/".join(elements))
    except ValueError as error:
        raise DataError.at("bad_triplet", file, record=f"row {number}", field="modality, area, task", found=elements,
                           expected="known words", fix=str(error)) from error  # fmt: skip
    return SubsetSpec(1000 + known, triplet, slug=str(row.get("subset") or str(triplet).replace("/", "-").lower()))
