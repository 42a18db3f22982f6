import dataclasses
import json

import numpy as np
import pytest

from medgraph.cg.verdicts import judge, read_scores
from medgraph.evaluation.effects import Scores
from medgraph.evaluation.predictions import Prediction


def scores(rates, questions=200, seed=0, repeats=1):
    """An arm with a chance of being right for each of its seeds."""
    rng = np.random.default_rng(seed)
    points = (rng.random((len(rates), questions)) < np.array(rates)[:, None]).astype(float)
    ids = tuple(f"q{i:03}" for i in range(questions))
    return Scores(points, ids, tuple(f"image{i // repeats}" for i in range(questions)))


def test_the_papers_tick_is_a_difference_of_whole_percents():
    arms = {"related": scores([0.5] * 3, seed=1), "zero_shot": scores([0.5] * 3, seed=2)}
    (verdict,) = judge({"row": arms})
    above = round(100 * arms["related"].accuracy) > round(100 * arms["zero_shot"].accuracy)
    assert verdict.ticked == above
    assert not verdict.helps
    same = judge({"row": {"related": arms["related"], "zero_shot": arms["related"]}})[0]
    assert not same.ticked  # a tie is no help


def test_a_large_difference_helps_and_must_beat_every_control():
    low, high = scores([0.3] * 5, seed=1), scores([0.7] * 5, seed=2)
    assert judge({"row": {"related": high, "zero_shot": low, "baseline_plus": low}})[0].helps
    for control in ("zero_shot", "baseline_plus"):
        other = {"zero_shot": low, "baseline_plus": low, control: scores([0.69] * 5, seed=3)}
        assert not judge({"row": {"related": high, **other}})[0].helps


def test_equal_arms_are_ticked_half_of_the_time_and_help_almost_never():
    rows = {f"row {i}": {"related": scores([0.5] * 3, 100, 3 * i), "zero_shot": scores([0.5] * 3, 100, 3 * i + 1),
                         "baseline_plus": scores([0.5] * 3, 100, 3 * i + 2)} for i in range(40)}  # fmt: skip
    verdicts = judge(rows)
    assert 0.15 < np.mean([verdict.ticked for verdict in verdicts]) < 0.5  # a third, by chance
    assert sum(verdict.helps for verdict in verdicts) == 0


def test_p_values_are_corrected_for_the_whole_table():
    strong = {"related": scores([0.62] * 5, seed=1), "zero_shot": scores([0.45] * 5, seed=2)}
    alone = judge({"a": strong})[0].effects[0]
    many = judge({f"row {i}": strong for i in range(20)})[0].effects[0]
    assert alone.p == alone.p_holm == many.p
    assert many.p_holm == pytest.approx(min(1.0, 20 * many.p))


def test_other_arms_can_be_judged_and_rows_without_them_are_left_out():
    low, high = scores([0.3] * 5, seed=1), scores([0.7] * 5, seed=2)
    rows = {"a": {"label_shuffled": high, "zero_shot": low}, "b": {"related": high, "zero_shot": low}, "c": {}}
    assert [(verdict.row, verdict.arm) for verdict in judge(rows, arm="label_shuffled")] == [("a", "label_shuffled")]
    assert judge({}) == []


def prediction(number, score):
    place = {"split": "ood", "subset": "s", "triplet": "a/b/c", "question_type": "t", "answer_type": "open"}
    texts = {"prompt": "", "answer": "x", "prediction": "x"}
    return Prediction(id=f"q{number}", image_id=f"i{number}", score=score, **place, **texts)


def test_scores_are_read_by_question_whatever_their_order(tmp_path):
    files = []
    for seed, order in enumerate(([0, 1, 2], [2, 0, 1])):
        file = tmp_path / f"{seed}.jsonl"
        lines = [json.dumps(dataclasses.asdict(prediction(n, float(n == seed)))) for n in order]
        file.write_text("\n".join(lines) + "\n")
        files.append(file)
    found = read_scores(files)
    assert found.questions == ("q0", "q1", "q2")
    np.testing.assert_array_equal(found.points, [[1, 0, 0], [0, 1, 0]])
    files[1].write_text(files[1].read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match=r"1.jsonl: has other test questions than .*0.jsonl \(1 and 3\)"):
        read_scores(files)
