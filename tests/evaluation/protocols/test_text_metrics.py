import pytest

from medgraph.evaluation.protocols import score_protocol


def test_known_values(make_prediction):
    cases = [("a nodule in the left lower lobe", "nodule in left lower lobe"), ("left lung", ""), ("left lung", "lung")]
    predictions = [make_prediction(str(i), answer=a, prediction=p) for i, (a, p) in enumerate(cases)]
    closed = make_prediction("yes", answer_type="closed", answer="yes", prediction="yes")
    figures = score_protocol([*predictions, closed], "text", resamples=0).figures
    assert {figure.n for figure in figures.values()} == {3}
    assert figures["bleu1"].value == pytest.approx(100 * (1 + 0 + 0.36788) / 3, abs=1e-2), "brevity penalty exp(-1)"
    assert figures["rouge_l"].value == pytest.approx(100 * (1 + 0 + 2 / 3) / 3, abs=1e-2)
    assert figures["bleu4"].value == pytest.approx(100 / 3, abs=1e-2)
    assert 0 < figures["chrf"].value < 100
