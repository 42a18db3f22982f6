import math

import pytest

from medgraph.evaluation.comparison import compare


def test_arms_are_compared_seed_by_seed():
    result = compare("linear", "Accuracy", {"random": [0.5, 0.6, 0.4], "a": [0.6, 0.71, 0.52], "b": [0.5, 0.5, 0.5]},
                     "random")  # fmt: skip
    reference, a, b = result.rows
    assert reference.versus is None
    assert a.versus.mean == pytest.approx(0.11)
    assert a.versus.low > 0
    assert a.p_holm == pytest.approx(2 * a.versus.p)
    assert b.versus.low < 0 < b.versus.high
    alone = compare("linear", "Accuracy", {"random": [0.5], "a": [0.6]}, "random").rows[1]
    assert math.isnan(alone.versus.low)
    with pytest.raises(ValueError, match="reference 'x'"):
        compare("linear", "Accuracy", {"a": [0.5]}, "x")
