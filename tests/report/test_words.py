import math

import pytest

from medgraph.evaluation.statistics import Interval
from medgraph.report import words


def test_numbers_as_people_read_them():
    assert words.percent(0.81249) == "81.2"
    assert words.points(-0.031) == "−3.1"
    assert words.interval(Interval(0.1, 0.25)) == "10.0–25.0"
    assert words.interval(Interval(-0.01, 0.02), signed=True) == "−1.0 to +2.0"
    assert [words.p_value(p) for p in (0.0004, 0.0123, math.nan)] == ["<\u202f0.001", "0.012", "–"]
    assert words.interval(Interval(math.nan, math.nan)) == "no interval"
    assert (words.split_name("ood"), words.split_name("my_split")) == ("Unseen combinations", "my split")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (math.nan, "–")],
)
def test_duration(seconds, text):
    assert words.duration(seconds).replace("\u202f", " ") == text
