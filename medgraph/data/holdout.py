"""Holding out a value of the metadata: questions about it are never trained on and become the ``ood`` split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from medgraph.config import ConfigError
from medgraph.data.records import ELEMENTS, Corpus, Record

COLUMNS = (*ELEMENTS, "label", "subset", "question_type", "answer_type")
"""Metadata that every record has."""


def hold_out_value(corpus: Corpus, rule: str) -> Corpus:
    """Split a corpus by a value of a column, as SURE-VQA does (arXiv:2411.19688).

    Training, task and validation lose the questions with that value, ``test`` keeps the others, ``ood`` gets those of
    the test split; and all of them, from every split, where no group (patient) has other values too.

    Args:
        corpus: without an ``ood`` split.
        rule: ``column:value``, a column out of `COLUMNS`.

    Raises:
        ConfigError: for another column, a value that no or every test question has, a corpus with an ood split, or if
            nothing is left to train on.
    """
    column, _, value = rule.partition(":")
    if column not in COLUMNS or not value:
        raise ConfigError(f"data.ood_value={rule}: expected COLUMN:VALUE with a column out of {', '.join(COLUMNS)}")
    if corpus.splits.get("ood"):
        raise ConfigError(f"data.ood_value={rule}: the data has an ood split already")
    inside: dict[str, list[Record]] = {}
    outside: dict[str, Sequence[Record]] = {}
    for name, records in corpus.splits.items():
        inside[name] = [record for record in records if _value(record, column) == value]
        outside[name] = [record for record in records if _value(record, column) != value]
    if not inside.get("test") or not outside.get("test"):
        known = sorted({_value(record, column) for record in corpus.splits.get("test", ())})
        raise ConfigError(
            f"data.ood_value={rule}: {len(inside.get('test', ()))} of {len(corpus.splits.get('test', ()))} test "
            f"questions have it; expected some but not all; values: {', '.join(known)}"
        )
    if corpus.splits.get("train") and not outside["train"]:
        raise ConfigError(f"data.ood_value={rule}: nothing is left to train on")
    moved = {record.id: record for name in inside for record in inside[name]} if _constant(corpus, column) else {}
    ood = list(moved.values()) or inside["test"]
    notes = {**corpus.notes, f"held out for ood by data.ood_value={rule}, questions": len(ood)}
    return replace(corpus, splits={**outside, "ood": ood}, notes=notes)


def _value(record: Record, column: str) -> str:
    return str(getattr(record.triplet if column in ELEMENTS else record, column))


def _constant(corpus: Corpus, column: str) -> bool:
    """Whether every group has one value of the column only."""
    values: dict[str, set[str]] = defaultdict(set)
    for records in corpus.splits.values():
        for record in records:
            values[record.group].add(_value(record, column))
    return all(len(found) == 1 for found in values.values())
