"""What the readers of question-answering sets share: checked fields, answer types, and splits into a corpus."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraph.config import QuestionsConfig
from medgraph.data.errors import DataError
from medgraph.data.extend import extend_reply
from medgraph.data.images import ImageFolder
from medgraph.data.policy import Policy
from medgraph.data.questions import same
from medgraph.data.records import (
    AnswerType,
    Corpus,
    MATTriplet,
    Record,
    conversations_in,
    take_fraction,
    take_questions,
)
from medgraph.data.splits import split_of
from medgraph.data.vocabulary import AREAS, MODALITIES

VAL_SHARE = 0.05
"""Share of the training groups that validation gets where a set ships no validation split."""


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
    config: QuestionsConfig,
    policy: Policy,
    ordered: Collection[str] = (),
) -> Corpus:
    """Turn published splits into a corpus.

    What is not published is drawn by a hash of seed and group: ``test`` with `QuestionsConfig.test_share` of the
    training groups and ``val`` with `VAL_SHARE` of them; published test records stay where they are. What remains of
    the training split is ``task``, and ``fraction`` of its images are ``train``: the instruction stages see a share,
    fine-tuning sees the whole training split, as in ExGra-Med (arXiv:2410.02615).

    Args:
        splits: any of ``train``, ``val`` and ``test``.
        root: folder of the images.
        config: rule for leaks, share, caps and seed.
        policy: what to do about records that cannot be used; its notes become the corpus'.
        ordered: subsets whose records are turns of conversations.

    Raises:
        DataError: if there are no records, an id occurs twice, an image is missing, or too much was left out.
    """
    if not any(splits.values()):
        raise DataError.at("no_records", config.root, found=[], expected=f"records in {config.EXPECTS}",
                           fix="check data.root")  # fmt: skip
    usable = _usable(splits, root, config, policy)
    drawn: dict[str, list[Record]] = {name: list(usable.get(name, ())) for name in ("train", "val", "test")}
    notes = policy.notes
    tested = {record.group for record in drawn["test"]}
    leaking = {record.image_id for name in ("train", "val") for record in drawn[name] if record.group in tested}
    clean = config.rule == "clean"
    if leaking:
        what = "left out of training" if clean else "kept in training, as published"
        notes[f"images of the test split that are also training images, {what}"] = len(leaking)
    shares = {"val": 0.0 if drawn["val"] else VAL_SHARE, "test": 0.0 if drawn["test"] else config.test_share}
    published, drawn["train"] = drawn["train"], []
    for record in published:
        drawn[split_of(record.group, config.seed, {**shares, "train": 1.0})].append(record)
    if clean:
        for name in ("train", "val"):
            drawn[name] = [record for record in drawn[name] if record.group not in tested]
    task = _capped(drawn["train"], config.questions_per_image, ordered)
    notes["training questions left out by data.questions_per_image"] = len(drawn["train"]) - len(task)
    images = {record.image_id for record in task}
    kept = take_fraction(images, config.fraction) if images else images
    notes["training images of data.fraction that are in train; task has all of them"] = len(kept) * (kept < images)
    out = {
        "train": [record for record in task if record.image_id in kept],
        "task": task, "val": drawn["val"], "test": drawn["test"], "ood": list[Record](),
    }  # fmt: skip
    every = tuple(record for name in ("task", "val", "test") for record in out[name])
    return Corpus(
        out,
        ImageFolder(root, every),
        {note: count for note, count in notes.items() if count},
        frozenset(ordered),
        config.turns,
    )


def _usable(
    splits: Mapping[str, Sequence[Record]], root: Path, config: QuestionsConfig, policy: Policy
) -> dict[str, list[Record]]:
    """Records with an id of their own and an image that is there; the policy decides about the others."""
    place = Path(config.root)
    images = {record.image: record.id for records in splits.values() for record in records}
    missing = {image for image in images if not (root / image).is_file()}
    seen: set[str] = set()
    out: dict[str, list[Record]] = {name: [] for name in splits}
    for name, records in splits.items():
        for record in records:
            if record.image in policy.images:
                policy.notes["quarantined: image listed as unreadable"] += 1
            elif record.id in seen:
                policy.reject(DataError.at("duplicate_id", place, record=record.id, field="id", found=record.id,
                                           expected="ids that occur once", fix="number the records again"))  # fmt: skip
            elif record.image in missing:
                fix = f"restore the {len(missing)} missing images of {len(images)}"
                policy.reject(DataError.at("image_missing", place, record=record.id, field="image", found=record.image,
                                           expected=f"an existing file below {root}", fix=fix))  # fmt: skip
            else:
                seen.add(record.id)
                out[name].append(record)
    policy.check(sum(map(len, out.values())), place)
    return out


def _capped(records: Sequence[Record], limit: int | None, ordered: Collection[str]) -> list[Record]:
    """At most ``limit`` records of each conversation: its first turns, or questions of an image by a hash."""
    if limit is None:
        return list(records)
    kept = {
        record.id
        for group in conversations_in(records, ordered)
        for record in (group[:limit] if group[0].subset in ordered else take_questions(group, limit))
    }
    return [record for record in records if record.id in kept]
