"""Records of the phantom: splits, questions whose answers follow from the factors, texts, and the contact sheet."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from medgraph.config import ConfigError, PhantomConfig
from medgraph.data.phantom import FINDINGS, FactorSpace, build_phantom, contact_sheet
from medgraph.data.phantom.questions import ABNORMAL, ALWAYS, with_article

SMALL = {"num_train": 400, "num_task": 20, "num_val": 20, "num_test": 50, "num_ood": 50}
FULL = {"num_modalities": 7, "num_areas": 7, "num_findings": 7}


@pytest.fixture(scope="module")
def config():
    return PhantomConfig(**SMALL, **FULL)


@pytest.fixture(scope="module")
def corpus(config):
    return build_phantom(config)


def test_splits_have_their_sizes_and_share_no_image(corpus):
    images = {name: {record.image_id for record in split} for name, split in corpus.splits.items()}
    assert {name: len(ids) for name, ids in images.items()} == {
        "train": 400, "task": 20, "val": 20, "test": 50, "ood": 50,
    }  # fmt: skip
    assert len(set.union(*images.values())) == 540
    records = [record for split in corpus.splits.values() for record in split]
    assert len({record.id for record in records}) == len(records) == 3 * 540
    unseen = {record.triplet for record in corpus.splits["ood"]}
    assert not unseen & {record.triplet for name in ("train", "task", "val", "test") for record in corpus.splits[name]}


def test_answers_follow_from_the_factors(corpus, config):
    space = FactorSpace(config)
    for record in corpus.splits["train"]:
        factors = space.draw(int(record.image))
        assert record.triplet == factors.triplet
        assert (record.label, record.subset) == (factors.finding, f"{factors.modality} {factors.area}")
        if record.question_type == "presence":
            asked = [name for name in FINDINGS[1:] if with_article(name) in record.question] or ["normal"]
            assert record.answer == ("yes" if asked == [factors.finding] else "no")
            assert record.answer_type == "closed"
        else:
            assert record.answer == getattr(factors, record.question_type)
            assert record.answer_type == "open"
        assert record.question_type in (ALWAYS if factors.finding == "normal" else ALWAYS + ABNORMAL)


def test_every_type_is_asked_and_an_image_never_twice_the_same(corpus):
    assert set(Counter(record.question_type for record in corpus.splits["train"])) == set(ALWAYS + ABNORMAL)
    for split in corpus.splits.values():
        asked = Counter((record.image_id, record.question_type) for record in split)
        assert max(asked.values()) == 1


def test_yes_and_no_are_balanced_for_every_finding():
    none = {"num_task": 0, "num_val": 0, "num_test": 0, "num_ood": 0, "holdout": 0}
    corpus = build_phantom(PhantomConfig(num_train=2500, **none))
    by_finding: dict[str, Counter[str]] = {}
    for record in corpus.splits["train"]:
        if record.question_type == "presence":
            asked = next((name for name in FINDINGS[1:] if with_article(name) in record.question), "normal")
            by_finding.setdefault(asked, Counter())[record.answer] += 1
    assert set(by_finding) == set(FINDINGS[:4])
    for name, answers in by_finding.items():
        assert binomtest(answers["yes"], answers.total()).pvalue > 1e-3, (name, answers)


def test_questions_do_not_name_the_answer(corpus):
    for record in corpus.splits["train"]:
        if record.question_type in ("modality", "area", "finding"):
            assert record.answer not in record.question.split()


def test_extended_answers_say_the_same_or_more(corpus, config):
    paraphrase = build_phantom(PhantomConfig(**SMALL, **FULL, extended="paraphrase")).splits["train"]
    space = FactorSpace(config)
    for short, long in zip(paraphrase, corpus.splits["train"], strict=True):
        assert (short.id, short.question, short.answer) == (long.id, long.question, long.answer)
        assert long.extended.startswith(short.extended)
        factors = space.draw(int(long.image))
        facts = [factors.modality]
        if factors.finding != "normal":
            facts += [factors.finding, factors.side, factors.level, factors.size, factors.severity]
        assert all(fact in long.extended.split(". ", 1)[1] for fact in facts)
    wordings = {record.extended for record in paraphrase if record.question_type == "side"}
    assert len(wordings) == 6


def test_the_vocabulary_is_small(corpus):
    texts = (f"{record.question} {record.extended} {record.answer}" for record in corpus.splits["train"])
    words = {word.strip(".,?") for text in texts for word in text.split()}
    assert len(words) < 200
    assert all(word == word.lower() for word in words)


def test_a_fraction_is_the_beginning_of_the_whole():
    sizes = {"num_task": 5, "num_val": 5, "num_test": 5, "num_ood": 5}
    whole = build_phantom(PhantomConfig(num_train=100, **sizes))
    part = build_phantom(PhantomConfig(num_train=100, fraction=0.1, **sizes))
    assert part.splits["train"] == whole.splits["train"][:30]
    assert part.splits["test"] == whole.splits["test"]


def test_images_are_the_same_in_another_process_and_any_order(corpus):
    load = pickle.loads(pickle.dumps(corpus.load_image))
    images = [record.image for record in corpus.splits["ood"][:6]]
    forwards = [corpus.load_image(image, 64) for image in images]
    backwards = [load(image, 64) for image in reversed(images)]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"data.fraction=0.0 is not a share"),
        ({"questions_per_image": 5}, r"data.questions_per_image=5 is outside 1 to 4"),
        ({"num_test": -1}, r"data.num_test=-1 is outside 0"),
        ({"holdout": 0.0}, r"data.holdout=0 leaves no combinations"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_phantom(PhantomConfig(**options))


def test_contact_sheet_shows_every_modality_and_area(tmp_path):
    corpus = build_phantom(PhantomConfig(num_train=300, num_modalities=2, num_areas=3, num_findings=2))
    contact_sheet(corpus, tmp_path / "new" / "sheet.png", side=48)
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width >= 3 * 48
        assert sheet.height >= 2 * 48
        assert np.asarray(sheet).std() > 10
