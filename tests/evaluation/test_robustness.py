import numpy as np
import pytest

from medgraph.evaluation.robustness import corruption_results, held_out_results


def test_corrupted_images_are_compared_question_by_question(make_prediction):
    before = [make_prediction(str(i), prediction="nodule" if i % 10 < 8 else "x") for i in range(100)]
    after = [
        make_prediction(str(i), control="blur/low", prediction="nodule" if i % 10 < 6 else "x") for i in range(100)
    ]
    extra = [make_prediction("other", control="blur/low")]
    (result,) = corruption_results([*before, make_prediction("0", control="no_image")], [*after, *extra], resamples=200)
    assert (result.split, result.corruption, result.severity, result.n) == ("test", "blur", "low", 100)
    assert result.figures["ratio"].value == pytest.approx(0.75)
    assert result.figures["difference"].low < -0.2 < result.figures["difference"].high < 0
    other = [make_prediction(f"o{p.id}", split="ood", prediction=p.prediction) for p in after]
    unpaired, paired = held_out_results([*before, *other])[0].figures["ratio"], result.figures["ratio"]
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_held_out_questions_are_compared_with_the_test_split(make_prediction):
    inside = [make_prediction(f"t{i}", prediction="nodule" if i % 10 < 8 else "x") for i in range(200)]
    outside = [make_prediction(f"o{i}", split="ood", prediction="nodule" if i % 10 < 6 else "x") for i in range(200)]
    blind = [make_prediction("o1", split="ood", control="no_image", prediction="x")]
    (result,) = held_out_results([*inside, *outside, *blind], resamples=2000)
    assert (result.split, result.corruption, result.n, result.images) == ("ood", "held out", 200, 200)
    values = {name: figure.value for name, figure in result.figures.items()}
    assert values == pytest.approx({"accuracy": 0.8, "shifted": 0.6, "difference": -0.2, "ratio": 0.75})
    assert 0.6 < result.figures["ratio"].low < 0.75 < result.figures["ratio"].high < 0.9
    assert result.figures["difference"].high < 0
    assert held_out_results(inside) == ()
    wrong = [make_prediction(str(i), prediction="x") for i in range(3)]
    assert np.isnan(held_out_results([*wrong, *outside], resamples=50)[0].figures["ratio"].value)
