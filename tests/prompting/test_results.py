from __future__ import annotations

import numpy as np
import pytest

from medgraph.evaluation.effects import Scores, interval_of
from medgraph.prompting.draw import TaskImage
from medgraph.prompting.report import base_to_new_table, paired_table, tables
from medgraph.prompting.results import FewShotResults, harmonic, macro_f1, score

TEST = [TaskImage(f"i{n}", n % 4, f"p{n}") for n in range(80)]
LABELS = np.array([image.label for image in TEST])


def predictions(right: float, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(80) < right, LABELS, (LABELS + 1) % 4).tolist()


def results(**rates: float) -> FewShotResults:
    """Three seeds; shots do not help; the linear probe cannot name new classes."""
    half = [n for n in range(80) if LABELS[n] < 2]

    def sides(method, rate, seed):
        if method == "linear_probe":
            return {}
        said = np.where(np.random.default_rng(seed).random(40) < rate, LABELS[half], 1 - LABELS[half]).tolist()
        return {"base": said, "new": said}

    return FewShotResults(
        tuple("abcd"), 2, TEST, "dude", (1, 2),
        {m: {k: [{"all": predictions(rate, 10 * k + s)} for s in range(3)] for k in (1, 2)}
         for m, rate in rates.items()},
        {m: [sides(m, rate, s) for s in range(3)] for m, rate in rates.items()},
    )  # fmt: skip


def test_balanced_accuracy_is_the_mean_recall():
    test = [TaskImage(f"i{n}", int(n >= 6), f"p{n}") for n in range(8)]
    said = [[0, 0, 0, 0, 0, 1, 1, 0]]
    assert score(test, said).accuracy == pytest.approx(6 / 8)
    assert score(test, said, balanced=True).accuracy == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_macro_f1_counts_every_class_once():
    labels, said = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    assert macro_f1(labels, said) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_the_harmonic_mean_and_its_variance_to_first_order():
    rng = np.random.default_rng(0)
    base, new = (
        Scores((rng.random((1, count)) < rate).astype(float), tuple(map(str, range(count))),
               tuple(f"{name}{i}" for i in range(count)))
        for name, count, rate in (("b", 300, 0.9), ("n", 200, 0.5))
    )  # fmt: skip
    b, n = base.accuracy, new.accuracy
    both = harmonic(base, new)
    assert both.accuracy == pytest.approx(2 * b * n / (b + n))
    found = interval_of(both.points, both.images)
    drawn_b, drawn_n = rng.binomial(300, b, 20_000) / 300, rng.binomial(200, n, 20_000) / 200
    sd = (2 * drawn_b * drawn_n / (drawn_b + drawn_n)).std()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * sd, rel=0.05)
    nothing = Scores(np.zeros((1, 2)), ("a", "b"), ("a", "b"))
    assert harmonic(nothing, nothing).accuracy == 0


def test_a_better_reference_is_told_from_an_equal_one():
    effects = results(dude=0.9, coop=0.5, plot=0.9).compare(results(dude=0.9, coop=0.5, plot=0.9).mean_accuracy)
    assert effects["coop"].low > 0.2
    assert effects["coop"].p_holm < 0.001
    assert effects["plot"].mean == 0
    assert effects["plot"].p == 1


def test_tables_say_who_cannot_name_new_classes():
    found = results(linear_probe=0.7, coop=0.5, dude=0.9)
    assert [table.name for table in tables(found)] == ["accuracy", "figures", "paired", "base_to_new"]
    assert [row[0] for row in paired_table(found).rows] == ["linear probe", "CoOp"]
    rows = base_to_new_table(found).rows
    assert [row[0] for row in rows] == ["CoOp", "Dude"]
    assert rows[1][-1] == ""
    assert all(len(row) == len(table.header) for table in tables(found) for row in table.rows)
