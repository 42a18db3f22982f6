import numpy as np
import pytest
from scipy import optimize

from medgraph.evaluation.probes import Features, best_thresholds, fit_linear, probe, probe_figures


@pytest.fixture
def make(rng):
    centres = rng.normal(size=(3, 8)) * 2

    def features(n: int, signal: float = 1.0) -> Features:
        y = rng.integers(0, 3, n)
        return Features(signal * centres[y] + rng.normal(size=(n, 8)), y, [str(i // 2) for i in range(n)])

    return features


def test_probes_find_what_is_there_and_nothing_where_there_is_nothing(make, rng):
    for signal, low, high in ((1.0, 0.85, 1.0), (0.0, 0.2, 0.5)):
        splits = [make(n, signal) for n in (150, 60, 120)]
        for result in probe(*splits, rng, resamples=50):
            assert low <= result.figures["accuracy"].value <= high
            assert (result.n, result.classes) == (120, 3)
            assert result.figures["macro_auroc"].value == pytest.approx(1 if signal else 0.5, abs=0.12)
            assert result.figures["accuracy"].low <= result.figures["accuracy"].value <= result.figures["accuracy"].high


def test_the_linear_probe_is_at_the_minimum_of_its_loss(make):
    data = make(40)
    p = fit_linear(data.x, data.y, 0.1, 3)(data.x)
    scaled = (data.x - data.x.mean(0)) / data.x.std(0)
    error = (p - np.eye(3)[data.y]) / 40
    assert np.abs(error.sum(0)).max() < 1e-4, "the bias is free, so class frequencies are met"

    def loss(flat):  # its own, with numerical gradients
        w = flat.reshape(9, 3)
        logits = scaled @ w[:-1] + w[-1]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -log_p[np.arange(40), data.y].mean() + 0.05 * (w[:-1] ** 2).sum()

    w = optimize.minimize(loss, np.zeros(27), method="BFGS").x.reshape(9, 3)
    logits = scaled @ w[:-1] + w[-1]
    assert p == pytest.approx(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), abs=2e-3)


def test_thresholds_come_from_the_data_they_are_given():
    p = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55]])
    y = np.array([1, 1, 0, 0])
    thresholds = best_thresholds(p, y)
    assert thresholds.tolist() == [0.3, 0.8]
    figures = probe_figures(p, y, thresholds)
    assert figures == {"accuracy": 0.5, "macro_recall": 1, "macro_f1": 1, "macro_auroc": 1}


def test_classes_that_training_lacks_are_refused(make, rng):
    train, validation, test = make(20), make(20), make(20)
    test.y[0] = 7
    with pytest.raises(ValueError, match=r"test has 20 samples and classes that training lacks: \[7\]"):
        probe(train, validation, test, rng)
