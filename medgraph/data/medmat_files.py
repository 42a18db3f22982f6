"""Reading the files of a Med-MAT release: question files, and the optional table of groups.

Nothing is decoded and nothing is sampled here; `medgraph.data.medmat` does the rest.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.data.errors import DataError
from medgraph.data.questions import parse_choice, same

FOLDERS = ("Aggregated_Subsets", "Aggrregated_Subsets", ".")
"""Where releases put the question files: two spellings, and later the root itself."""

_FILE = re.compile(r"^subset-{1,2}(\d+)(?:-train)?\.json$", re.IGNORECASE)
_FIELDS = ("id", "caption", "image", "Question", "Question-choice", "Answer-choice")


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a subset with its released question.

    Attributes:
        id: the record's id in its file.
        image: the path as written in the file.
        label: the caption; for multi-label subsets the comma-joined labels.
        question: the question without options.
        options: the released options, in order.
        dataset: number of the source data set; None if the record does not say.
    """

    id: str
    image: str
    label: str
    question: str
    options: tuple[str, ...]
    dataset: int | None = None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What ``groups.csv`` says about one image; empty strings where it says nothing."""

    group: str = ""
    modality: str = ""
    area: str = ""
    task: str = ""
    source: str = ""


def find_subset_files(root: Path) -> dict[int, Path]:
    """Question files below a data root, by subset number.

    Raises:
        DataError: if there is none, or two files have the same number.
    """
    files: dict[int, Path] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*.json")):
            if match := _FILE.match(path.name):
                number = int(match[1])
                if number in files:
                    raise DataError.at("duplicate_subset", path, found=str(files[number]),
                                       expected="one question file a subset", fix="remove one of the two")  # fmt: skip
                files[number] = path
    if not files:
        raise DataError.at("no_subsets", root, found=sorted(path.name for path in root.iterdir())[:8],
                           expected="Aggregated_Subsets/Subset--NN-train.json",
                           fix="set data.root to the folder that holds Aggregated_Subsets/ and med-mat/")  # fmt: skip
    return dict(sorted(files.items()))


def read_json_list(path: Path) -> list[Any]:
    """Read a JSON file whose top level is a list.

    Raises:
        DataError: if the file is missing, cut off, not UTF-8 or not a list.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError.at("file_missing", path, found=None, expected="a file", fix="check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        found, expected = f"{path.stat().st_size} bytes; {error}", "a complete JSON list in UTF-8"
        raise DataError.at("json_unreadable", path, found=found, expected=expected, fix="download it again") from error
    if not isinstance(loaded, list):
        raise DataError.at("json_not_a_list", path, found=type(loaded).__name__, expected="a list of records",
                           fix="check data.root")  # fmt: skip
    return loaded


def read_subset(path: Path) -> list[Item]:
    """Read all records of a question file.

    Raises:
        DataError: at the first record that is wrong; `medgraph data check` lists them all.
    """
    items = []
    for found in scan_subset(path):
        if isinstance(found, DataError):
            raise found
        items.append(found)
    return items


def scan_subset(path: Path) -> Iterator[Item | DataError]:
    """Yield each record of a question file, or what is wrong with it.

    Raises:
        DataError: if the file itself cannot be read.
    """
    seen: set[str] = set()
    records = read_json_list(path)
    if not records:
        yield DataError.at("empty_file", path, found=[], expected="at least one record", fix="download it again")
    for position, raw in enumerate(records):
        try:
            item = parse_item(raw, path, position)
            if item.id in seen:
                raise DataError.at("duplicate_id", path, record=item.id, field="id", found=item.id,
                                   expected="an id that no other record of the file has",
                                   fix="number the records again")  # fmt: skip
        except DataError as error:
            yield error
        else:
            seen.add(item.id)
            yield item


def parse_item(raw: Any, path: Path, position: int) -> Item:
    """Check one record of a question file.

    Args:
        raw: the decoded JSON value.
        path: its file, for errors.
        position: its place in the file from 0, for errors about records without an id.

    Raises:
        DataError: for a missing or empty field, a wrong type, unreadable options, or a letter that is not the caption.
    """
    if not isinstance(raw, dict):
        raise DataError.at("wrong_type", path, record=f"at position {position}", found=raw,
                           expected="an object with the keys of the Med-MAT release", fix="remove it")  # fmt: skip
    name = raw.get("id", f"at position {position}")
    text = {field: _text(raw, field, path, name) for field in _FIELDS}
    try:
        options = parse_choice(text["Question-choice"])
    except ValueError as error:
        raise DataError.at("bad_options", path, record=name, field="Question-choice",
                           found=f"{error} in {text['Question-choice']}",
                           expected="two or more different options in lines 'A: …', 'B: …'",
                           fix="correct the options") from error  # fmt: skip
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options)]
    letter = text["Answer-choice"].rstrip(".:) ").upper()
    if len(letter) != 1 or letter not in letters:
        raise DataError.at("bad_letter", path, record=name, field="Answer-choice", found=text["Answer-choice"],
                           expected=f"one of {', '.join(letters)}", fix="correct the letter")  # fmt: skip
    answer = options[letters.index(letter)]
    if same(answer) != same(text["caption"]):
        raise DataError.at("answer_mismatch", path, record=name, field="Answer-choice",
                           found=f"{letter}: {answer}", expected=f"the letter of the caption {text['caption']!r}",
                           fix="correct the letter or the caption")  # fmt: skip
    number = str(raw.get("data-no", "")).strip()
    dataset = int(number) if number.isdecimal() else None
    return Item(text["id"], text["image"], answer, text["Question"], options, dataset)


def _text(raw: Mapping[str, Any], field: str, path: Path, name: Any) -> str:
    value = raw.get(field)
    if field == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if field not in raw:
        raise DataError.at("missing_field", path, record=name, field=field, found=sorted(raw),
                           expected=f"a value for {field!r}", fix="complete the record")  # fmt: skip
    if not isinstance(value, str) or not value.strip():
        raise DataError.at("wrong_type", path, record=name, field=field, found=value,
                           expected="a non-empty text", fix="complete the record")  # fmt: skip
    return value.strip()


def read_groups(path: Path) -> dict[int, dict[str, ImageFacts]]:
    """Read ``groups.csv``: one line an image, with the columns ``image`` and ``subset``.

    Further columns that are used if they are there: ``group`` (what must not be split: patient, video …),
    ``modality``, ``area``, ``task`` (for subsets that the registry does not know) and ``source``.

    Returns:
        Subset number to image path as written to facts; empty if the file does not exist.

    Raises:
        DataError: for missing columns or a subset that is not a number.
    """
    if not path.is_file():
        return {}
    facts: dict[int, dict[str, ImageFacts]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        columns = table.fieldnames or []
        for required in ("image", "subset"):
            if required not in columns:
                raise DataError.at("missing_column", path, field=required, found=list(columns),
                                   expected=f"a column {required!r}", fix="add the column")  # fmt: skip
        used = [name for name in ("group", "modality", "area", "task", "source") if name in columns]
        for line, row in enumerate(table, start=2):
            if not (row["subset"] or "").strip().isdigit():
                raise DataError.at("wrong_type", path, record=f"line {line}", field="subset", found=row["subset"],
                                   expected="a subset number", fix="write the number, e.g. 3")  # fmt: skip
            known = facts.setdefault(int(row["subset"]), {})
            known[row["image"]] = ImageFacts(**{name: row[name] or "" for name in used})
    return facts
