from __future__ import annotations

from dataclasses import replace

import pytest

from medgraph.config import ConfigError
from medgraph.data.holdout import hold_out_value
from medgraph.data.records import Corpus, MATTriplet, Record


@pytest.fixture
def corpus() -> Corpus:
    """Four patients; the second has a CT and an MRI image in the test split."""

    def record(name: str, modality: str, group: str) -> Record:
        return Record(
            id=name, image_id=name, image=name, question="?", answer="yes", extended="yes", answer_type="closed",
            question_type="PRES", triplet=MATTriplet(modality, "Lung", "vqa"), label="", subset="s", group=group,
        )  # fmt: skip

    return Corpus(
        {
            "train": [record("a", "CT", "1"), record("b", "MRI", "4")],
            "task": [record("a", "CT", "1"), record("b", "MRI", "4")],
            "val": [record("c", "CT", "3")],
            "test": [record("d", "CT", "2"), record("e", "MRI", "2")],
        },
        lambda image, side: None,  # type: ignore[arg-type, return-value]
        {"known": 1},
    )


def ids(corpus: Corpus) -> dict[str, str]:
    return {name: "".join(record.id for record in records) for name, records in corpus.splits.items()}


def test_a_value_leaves_training_and_its_test_questions_become_ood(corpus):
    held = hold_out_value(corpus, "modality:MRI")
    assert ids(held) == {"train": "a", "task": "a", "val": "c", "test": "d", "ood": "e"}
    assert held.notes == {"known": 1, "held out for ood by data.ood_value=modality:MRI, questions": 1}


def test_where_patients_have_one_value_all_their_questions_become_ood(corpus):
    apart = [replace(record, group=record.id) for record in corpus.splits["test"]]
    held = hold_out_value(replace(corpus, splits={**corpus.splits, "test": apart}), "modality:MRI")
    assert ids(held) == {"train": "a", "task": "a", "val": "c", "test": "d", "ood": "be"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("modality", "expected COLUMN:VALUE"),
        ("organ:Lung", "a column out of modality, area, task, label"),
        ("modality:US", "0 of 2 test questions have it; expected some but not all; values: CT, MRI"),
        ("area:Lung", "2 of 2 test questions have it"),
    ],
)
def test_rules_that_cannot_be(corpus, rule, message):
    with pytest.raises(ConfigError, match=message):
        hold_out_value(corpus, rule)


def test_an_ood_split_is_not_replaced(corpus):
    held = hold_out_value(corpus, "modality:MRI")
    with pytest.raises(ConfigError, match="has an ood split already"):
        hold_out_value(held, "modality:CT")
