"""What the readers of question-answering sets share: checked fields, answer types, and splits into a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medgraph.data.errors import DataError
from medgraph.data.extend import extend_reply
from medgraph.data.images import ImageFolder
from medgraph.data.questions import same
from medgraph.data.records import AnswerType, Corpus, Image, MATTriplet, Record, take_fraction
from medgraph.data.splits import HELD_BACK, split_of
from medgraph.data.vocabulary import AREAS, MODALITIES

SplitRule = Literal["official", "clean"]
"""``official``: as published. ``clean``: test images leave every other split."""


def text_field(raw: Any, field: str, file: Path, name: object, *, optional: bool = False) -> str:
    """Read a field as text: blanks trimmed, whole numbers accepted (VQA-RAD has integer answers).

    Raises:
        DataError: if it is missing (unless optional), empty, or neither text nor number.
    """
    value = raw.get(field) if isinstance(raw, Mapping) else None
    if value is None and optional:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not (value.strip() or optional):
        kind = "missing_field" if value is None else "wrong_type"
        raise DataError.at(kind, file, record=name, field=field, found=value, expected="a text or a number",
                           fix="complete the record")  # fmt: skip
    return value.strip()


def qa_record(
    dataset: str,
    name: str,
    image: str,
    question: str,
    answer: str,
    *,
    kind: AnswerType | None = None,
    question_type: str = "vqa",
    modality: str = "unspecified",
    area: str = "unspecified",
    options: tuple[str, ...] = (),
    group: str = "",
    extended: str = "",
) -> Record:
    """Make the record of one question of a question-answering set.

    Args:
        dataset: name of the set; prefix of the id and name of the subset.
        name: id within the set.
        image: path relative to the root.
        question: without options.
        answer: the short answer.
        kind: stated answer type; None: by `answer_type`, or ``choice`` if there are options.
        question_type: what is asked.
        modality: any spelling; unknown ones are kept.
        area: any spelling; unknown ones are kept.
        options: of a choice question.
        group: patient or source; empty: the image.
        extended: published extended answer; empty: a template around question and answer.
    """
    record_id = f"{dataset}/{name}"
    return Record(
        id=record_id,
        image_id=image,
        image=image,
        question=question,
        answer=answer,
        extended=extended or extend_reply(question, answer, record_id),
        answer_type=kind or ("choice" if options else answer_type(answer)),
        question_type=question_type,
        triplet=MATTriplet(MODALITIES.adopt(modality), AREAS.adopt(area), "vqa"),
        label=answer,
        subset=dataset,
        group=group or image,
        options=options,
    )


def lettered(options: Sequence[str], letter: str, file: Path, name: object) -> str:
    """The option that a letter names.

    Raises:
        DataError: if there is no such option, or an option occurs twice.
    """
    if len({same(option) for option in options}) < len(options):
        raise DataError.at("bad_options", file, record=name, field="options", found=list(options),
                           expected="different options", fix="correct the options")  # fmt: skip
    letters = "ABCDEFGHIJ"[: len(options)]
    key = letter.strip(" .:()").upper()
    if len(key) != 1 or key not in letters:
        raise DataError.at("bad_letter", file, record=name, field="answer", found=letter,
                           expected=f"one of {', '.join(letters)}", fix="correct the letter")  # fmt: skip
    return options[letters.index(key)]


def answer_type(answer: str) -> AnswerType:
    """``closed`` for yes and no, otherwise ``open``; sets that state the type keep their own.

    Example:
        >>> answer_type("Yes"), answer_type("right lung")
        ('closed', 'open')
    """
    return "closed" if answer.strip(" .").lower() in ("yes", "no") else "open"


def make_corpus(
    splits: Mapping[str, Sequence[Record]],
    root: Path,
    rule: SplitRule = "official",
    fraction: float = 1.0,
    seed: int = 0,
    notes: Mapping[str, int] | None = None,
    load_image: Callable[[str, int], Image] | None = None,
) -> Corpus:
    """Turn published splits into a corpus.

    A set without a validation split gives 5 % of its training groups each to ``val`` and ``task``; with one, 5 % to
    ``task``. A share of the training images is taken afterwards, so the other splits never change with it.

    Args:
        splits: ``train``, ``test`` and possibly ``val``.
        root: folder of the images.
        rule: what to do about test images that are also training or validation images; they are counted in any case.
        fraction: share of the training images.
        seed: seed of the held-back groups.
        notes: facts already counted by the reader.
        load_image: where images come from; None: the files below ``root``.

    Raises:
        DataError: if an id occurs twice, or an image is missing.
        ValueError: for an unknown rule.
    """
    if rule not in ("official", "clean"):
        raise ValueError(f"split rule {rule!r}: expected official or clean")
    refuse_duplicates((record for records in splits.values() for record in records), root)
    if load_image is None:
        require_images({record.image: record.id for records in splits.values() for record in records}, root)
    counted = Counter(notes or {})
    test = list(splits.get("test", ()))
    tested = {record.group for record in test}
    leaking = {r.image_id for name in ("train", "val") for r in splits.get(name, ()) if r.group in tested}
    if leaking:
        what = "left out of training" if rule == "clean" else "kept in training, as published"
        counted[f"images of the test split that are also training images, {what}"] = len(leaking)
    out: dict[str, list[Record]] = {"train": [], "task": [], "val": [], "test": test, "ood": []}
    for name in ("train", "val"):
        for record in splits.get(name, ()):
            if rule == "official" or record.group not in tested:
                drawn = split_of(record.group, seed, HELD_BACK) if name == "train" else "val"
                out["train" if drawn == "val" and name == "train" and splits.get("val") else drawn].append(record)
    if out["train"]:
        kept = take_fraction((record.image_id for record in out["train"]), fraction)
        counted["training images left out by data.fraction"] = len({r.image_id for r in out["train"]} - kept)
        out["train"] = [record for record in out["train"] if record.image_id in kept]
    every = tuple(record for records in out.values() for record in records)
    return Corpus(
        out, load_image or ImageFolder(root, every), {note: count for note, count in counted.items() if count}
    )


def require_images(records: Mapping[str, str], root: Path) -> None:
    """Check that images exist.

    Args:
        records: image path to the id of a record that needs it.
        root: folder of the images.

    Raises:
        DataError: at the first image that is missing, with the number of all that are.
    """
    missing = [image for image in records if not (root / image).is_file()]
    if missing:
        raise DataError.at("image_missing", root, record=records[missing[0]], field="image", found=missing[0],
                           expected=f"an existing file below {root}",
                           fix=f"restore the {len(missing)} missing images of {len(records)}")  # fmt: skip


def refuse_duplicates(records: Iterable[Record], file: Path) -> None:
    """Check that ids are unique.

    Raises:
        DataError: at the first id that occurs twice.
    """
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise DataError.at("duplicate_id", file, record=record.id, field="id", found=record.id,
                               expected="ids that occur once", fix="number the records again")  # fmt: skip
        seen.add(record.id)
