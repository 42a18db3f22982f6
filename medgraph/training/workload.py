"""What a stage's conversations ask of a model in tokens, and that all of them can be trained on, before the first step.

Every record is looked at as text; tokenised are the longest ones, and conversations from all over the data.

Letters: n conversations that were tokenised.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medgraph.data.collate import Tokens
from medgraph.data.conversation import IGNORE, IMAGE_MARK, ask, encode_answers, encode_conversation, reply
from medgraph.data.datamodule import CorpusDataModule
from medgraph.data.errors import DataError
from medgraph.data.records import Record

LONGEST, SPREAD = 100, 400
"""What is tokenised: the records with the most characters, and evenly spaced conversations."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Tokens of a stage.

    Attributes:
        conversations: samples of an epoch.
        lengths: (n,) tokens of evenly spaced conversations: ``lm``, ``lm_extended`` and the views of the stage.
        supervised: (n,) supervised tokens of them, extended answers included.
    """

    conversations: int
    lengths: dict[str, npt.NDArray[np.int64]]
    supervised: npt.NDArray[np.int64]


def measure_workload(data: CorpusDataModule) -> Workload:
    """Count the tokens of a stage, and check its conversations as collation would.

    Args:
        data: of the stage.

    Raises:
        DataError: for a record without a supervised token or with a special token in its text, a conversation that is
            too long, or image tokens that are not those of the tower; names the record.
    """
    dataset, tokens = data.dataset, data.tokens
    details = (False, True) if data.extended_lm else (False,)
    for records in dataset.groups:
        for record in records:
            _check_text(record, details, tokens)
    openings = [record for records in dataset.groups for record in _openings(records, dataset.ordered)]
    for record in sorted(openings, key=lambda record: -_characters(record, details[-1]))[:LONGEST]:
        for detail in details:
            _encode([record], tokens, detail)
    samples = [dataset.groups[number][part] for number, part in dataset.samples]
    spread = np.unique(np.linspace(0, len(samples) - 1, min(SPREAD, len(samples))).astype(int)).tolist()
    lengths: dict[str, list[int]] = {}
    supervised = []
    for i in spread:
        counts = [_encode(samples[i], tokens, detail) for detail in details]
        supervised.append(sum(count for _, count in counts))
        for name, (length, _) in zip(("lm", "lm_extended"), counts, strict=False):
            lengths.setdefault(name, []).append(length)
        for view in data.views:
            ids = encode_answers(tokens.tokenizer, samples[i], tokens.max_length, view == "extended")
            lengths.setdefault(view, []).append(len(ids))
    return Workload(len(samples), {name: np.array(values) for name, values in lengths.items()}, np.array(supervised))


def _openings(records: Sequence[Record], ordered: Collection[str]) -> Sequence[Record]:
    """Records that can be a first turn, which must fit; later ones that do not are left out."""
    return records[:1] if records[0].subset in ordered else records


def _encode(records: Sequence[Record], tokens: Tokens, detail: bool) -> tuple[int, int]:
    """Tokens of a conversation, and how many of them are supervised."""
    encoded = encode_conversation(tokens.tokenizer, records, tokens.image_tokens, tokens.max_length, detail)
    found = encoded.ids.count(tokens.tokenizer.convert_tokens_to_ids(IMAGE_MARK))
    if found != tokens.image_tokens:
        raise DataError(f"record {records[0].id}: {found} image tokens for one image of {tokens.image_tokens}")
    return len(encoded.ids), sum(label != IGNORE for label in encoded.labels)


def _characters(record: Record, detail: bool) -> int:
    return len(ask(record, detail)) + len(reply(record, detail))


def _check_text(record: Record, details: Sequence[bool], tokens: Tokens) -> None:
    for detail in details:
        answer = reply(record, detail)
        if not answer.strip():
            field = "extended" if detail else "answer"
            raise DataError(f"record {record.id}: the answer {answer!r} leaves no supervised token; give it a "
                            f"non-empty {field}")  # fmt: skip
        text = f"{ask(record, detail)} {answer}"
        if mark := next((mark for mark in tokens.tokenizer.all_special_tokens if mark in text), None):
            raise DataError(f"record {record.id}: its text contains the special token {mark!r}; remove it: {text!r}")
