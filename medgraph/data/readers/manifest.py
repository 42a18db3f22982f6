"""A table with one row a question or one row a labelled image; `medgraph.config.Columns` describes the columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from medgraph.config import Columns, HFConfig, ManifestConfig
from medgraph.data.assemble import assemble_held_out
from medgraph.data.errors import DataError
from medgraph.data.paths import refused, safe_relative
from medgraph.data.policy import Policy
from medgraph.data.readers.common import lettered, make_corpus, qa_record, text_field
from medgraph.data.readers.labelled import LabelledImage, make_subset
from medgraph.data.readers.tables import SPLIT_NAMES, Row, dataset_rows, read_folder_rows, read_rows
from medgraph.data.records import AnswerType, Corpus, Record
from medgraph.data.registry import SubsetSpec
from medgraph.data.vocabulary import parse_triplet

if TYPE_CHECKING:
    import datasets


def build_manifest(config: ManifestConfig) -> Corpus:
    """Read a table of questions or of labelled images.

    Raises:
        DataError: for columns that are missing and values that are wrong, naming file, row and column.
    """
    file = Path(config.root)
    return corpus_from_rows(read_rows(file), config, file.parent)


def build_hf(config: HFConfig) -> Corpus:
    """Read a Hugging Face data set on disk; files in a folder are read without the `datasets` cache.

    Raises:
        DataError: as `build_manifest`.
    """
    folder = Path(config.root)
    return corpus_from_rows(read_folder_rows(folder) if folder.is_dir() else read_rows(folder), config, folder)


def corpus_from_dataset(
    dataset: datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset, config: HFConfig
) -> Corpus:
    """Make a corpus of a `datasets` object.

    Args:
        dataset: a table, a stream, or several of them by split.
        config: columns, rule and sizes; ``images`` is the folder of the images, ``root`` names the set in errors.

    Raises:
        DataError: as `build_manifest`.
    """
    return corpus_from_rows(dataset_rows(dataset), config, Path(config.root))


def corpus_from_rows(rows: Iterable[Row], config: ManifestConfig, folder: Path) -> Corpus:
    """Make a corpus of rows.

    Images inside the rows are written below ``extracted/`` in the image folder once, named by their content, so that
    one image is one image however many rows it has.

    Args:
        rows: mappings from column to value.
        config: columns, rule and sizes.
        folder: of the images, unless ``config.images`` names one.

    Raises:
        DataError: as `build_manifest`.
    """
    root, policy = Path(config.images) if config.images else folder, Policy.of(config)
    splits: dict[str, list[Record]] = {}
    labelled: dict[str, tuple[SubsetSpec, list[LabelledImage]]] = {}
    place = Path(config.root)
    parsed = partial(parse_row, columns=config.columns, place=place, image_of=partial(stored_image, root, place))
    for split, row in policy.usable(parsed, enumerate(rows, start=1)):
        if isinstance(row, Record):
            splits.setdefault(split or "train", []).append(row)
            continue
        spec, image = row
        known, members = labelled.setdefault(spec.key, (spec, []))
        if known != spec:
            raise DataError.at("bad_triplet", config.root, record=image.image, field="modality, area, task",
                               found=str(spec.triplet), expected=f"{known.triplet}, as in other rows of {spec.key}",
                               fix="give every triplet a subset of its own")  # fmt: skip
        if image.image in policy.images:
            policy.notes["quarantined: image listed as unreadable"] += 1
        else:
            members.append(image)
    if not labelled:
        return make_corpus(splits, root, config, policy)
    images = {image.image for _, members in labelled.values() for image in members}
    missing = {image for image in images if not (root / image).is_file()}
    for image_path in sorted(missing):
        fix = f"restore the {len(missing)} missing images of {len(images)}"
        policy.reject(DataError.at("image_missing", config.root, field=config.columns.image, found=image_path,
                                   expected=f"an existing file below {root}", fix=fix))  # fmt: skip
    policy.check(len(images) - len(missing), Path(config.root))
    present = [
        (spec, [image for image in members if image.image not in missing]) for spec, members in labelled.values()
    ]
    subsets = [make_subset(spec, members, config.seed) for spec, members in present]
    return assemble_held_out(subsets, root, fraction=config.fraction, extended=config.extended, seed=config.seed,
                             notes=policy.notes)  # fmt: skip


def parse_row(
    numbered: tuple[int, Row], columns: Columns, place: Path, image_of: Callable[[Any, str], str]
) -> tuple[str, Record | tuple[SubsetSpec, LabelledImage]]:
    """Split of a row (or ""), and its question or its labelled image.

    Args:
        numbered: number and row.
        columns: names that the table has for its columns.
        place: name of the table in errors.
        image_of: value of the image column, and the row's name in errors, to the name of the image.

    Raises:
        DataError: for columns that are missing and values that are wrong.
    """
    number, raw = numbered
    where = f"row {number}"
    row = {ours: raw[theirs] for ours, theirs in vars(columns).items() if raw.get(theirs) is not None}
    if "image" not in row or not ("label" in row or "question" in row):
        raise DataError.at("missing_column", place, record=where, found=sorted(raw),
                           expected="image, and either label or question and answer",
                           fix="name the table's columns, e.g. data.columns.image=NAME")  # fmt: skip
    image = image_of(row["image"], where)
    split = _split(row, place, where)
    if "question" in row:
        return split, _question(row, image, place, number)
    label, group = text_field(row, "label", place, where), str(row.get("group", ""))
    return split, (_spec(row, place, where), LabelledImage(image, label, group, split))


def image_content(value: Any, place: Path, where: str) -> str | bytes:
    """Path of an image, or its encoded content where the table holds it.

    Raises:
        DataError: for anything else.
    """
    if isinstance(value, Mapping):
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if not isinstance(value, (str, bytes)):
        raise DataError.at("wrong_type", place, record=where, field="image", found=type(value).__name__,
                           expected="a path, or the bytes of an image file",
                           fix="cast the column to datasets.Image(decode=False)")  # fmt: skip
    return value


def stored_image(root: Path, place: Path, value: Any, where: str) -> str:
    """Path of an image relative to the root; an image stored in the table is written there.

    Raises:
        DataError: for a path that leaves the root, or something that is no image.
    """
    content = image_content(value, place, where)
    if isinstance(content, str):
        try:
            return safe_relative(content, root)
        except ValueError as error:
            raise refused(content, error, place, where) from error
    relative = f"extracted/{content_name(content)}.img"
    target = root / relative
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(content)
        part.replace(target)
    return relative


def content_name(content: bytes) -> str:
    """Name of an image by its content."""
    return hashlib.sha256(content).hexdigest()[:20]


def _split(row: Row, place: Path, where: str) -> str:
    text = str(row.get("split", "")).strip().lower()
    if text and text not in SPLIT_NAMES:
        raise DataError.at("bad_split", place, record=where, field="split", found=row["split"],
                           expected="train, val or test", fix="correct the column")  # fmt: skip
    return SPLIT_NAMES.get(text, "")


def _question(row: Row, image: str, place: Path, number: int) -> Record:
    where = f"row {number}"
    raw = row.get("options") or ()
    options = tuple(str(option).strip() for option in (raw.split("|") if isinstance(raw, str) else raw))
    answer = _answer(row, options, place, where)
    kind = str(row.get("answer_type", "")).strip().lower()
    if kind and kind not in get_args(AnswerType):
        raise DataError.at("bad_answer_type", place, record=where, field="answer_type", found=kind,
                           expected=" or ".join(get_args(AnswerType)), fix="correct the column")  # fmt: skip
    given = {key: str(row[key]) for key in ("question_type", "modality", "area", "group", "extended") if row.get(key)}
    return qa_record(str(row.get("subset") or place.stem), str(row.get("id", number)), image,
                     text_field(row, "question", place, where), answer,
                     kind=kind or None, options=options, **given)  # type: ignore[arg-type]  # fmt: skip


def _answer(row: Row, options: tuple[str, ...], place: Path, where: str) -> str:
    """The answer's text; for choice questions also from its letter, or its number counted from 0."""
    answer = text_field(row, "answer", place, where)
    if not options or answer in options:
        return answer
    if isinstance(row["answer"], int) and row["answer"] < len(options):
        return options[row["answer"]]
    if len(answer) == 1 and answer.isalpha():
        return lettered(options, answer, place, where)
    raise DataError.at("answer_mismatch", place, record=where, field="answer", found=answer,
                       expected=f"one of {list(options)}",
                       fix="write the text of the right option, its letter, or its number from 0")  # fmt: skip


def _spec(row: Row, place: Path, where: str) -> SubsetSpec:
    elements = [text_field(row, name, place, where) for name in ("modality", "area", "task")]
    try:
        triplet = parse_triplet("/".join(elements))
    except ValueError as error:
        raise DataError.at("bad_triplet", place, record=where, field="modality, area, task", found=elements,
                           expected="known words", fix=str(error)) from error  # fmt: skip
    slug = str(row.get("subset") or str(triplet).replace("/", "-").lower())
    return SubsetSpec(0, triplet, slug=slug)
