from collections import Counter

import pytest

from medgraph.data.plan import MixturePlan, draw, equal_counts, measured_role
from medgraph.data.records import MATTriplet, Record


def records(**counts):
    return [
        Record(id=f"{subset}/{i}/{kind}", image_id=f"{subset}-{i}.png", image="", question="", answer="", extended="",
               answer_type="open", question_type="", triplet=MATTriplet("CT", "Lung", "state"), label="ab"[i % 2],
               subset=subset, group="")
        for subset, count in counts.items() for i in range(count) for kind in ("choice", "open")
    ]  # fmt: skip


def test_exact_counts_balanced_labels_and_all_records_of_an_image():
    everything = records(s1=40, s2=40, s3=40)
    plan = draw(everything, {"s1": 10, "s2": 7}, seed=0)
    assert plan.counts == {"s1": 10, "s2": 7}
    chosen = plan.select(everything)
    assert Counter(record.subset for record in chosen) == {"s1": 20, "s2": 14}
    assert Counter(r.label for r in chosen if r.subset == "s1") == {"a": 10, "b": 10}


def test_arms_that_share_a_subset_share_its_images():
    small = draw(records(s1=40), {"s1": 10}, seed=0)
    large = draw(records(s1=40, s2=9), {"s1": 10, "s2": 9}, seed=0)
    assert small.images["s1"] == large.images["s1"]
    assert set(small.images["s1"]) < set(draw(records(s1=40), {"s1": 20}, seed=0).images["s1"])


def test_the_hash_tells_plans_apart_and_ignores_order():
    a, b = MixturePlan({"s": ("1", "2"), "t": ("3",)}), MixturePlan({"t": ("3",), "s": ("1", "2")})
    assert a.fingerprint() == b.fingerprint() != MixturePlan({"s": ("1",), "t": ("2", "3")}).fingerprint()


def test_budgets_are_shared_equally_and_never_exceeded():
    available = {"s1": 5, "s2": 40, "s3": 40}
    assert equal_counts(available, 45) == {"s1": 5, "s2": 20, "s3": 20}
    with pytest.raises(ValueError, match=r"budget=100: the subsets s1, s2, s3 hold 85 images"):
        equal_counts(available, 100)
    with pytest.raises(ValueError, match=r"budget=1: the subsets \(none\) hold 0"):
        equal_counts({}, 1)


def test_a_subset_below_the_wanted_count_is_never_oversampled():
    with pytest.raises(ValueError, match="s1: 6 images wanted, 5 there"):
        draw(records(s1=5), {"s1": 6}, seed=0)
    with pytest.raises(ValueError, match="s9: 1 images wanted, 0 there"):
        draw(records(s1=5), {"s9": 1}, seed=0)


def test_the_measured_role_follows_the_cap():
    assert (measured_role(3000, 3000), measured_role(2999, 3000)) == ("id", "ood")
