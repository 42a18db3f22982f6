from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture
def gpu(monkeypatch):
    """benchmarks/gpu.py."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


@pytest.fixture
def pretraining(monkeypatch):
    """benchmarks/pretraining.py."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import pretraining

    return pretraining


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*litlogger", "ignore:.*does not have many workers")
def test_all_arms_of_the_gpu_benchmark_run_on_the_cpu(gpu):
    rows = list(gpu.measure("tiny", torch.device("cpu"), 1e12, steps=1, compiled=False))
    assert [row.what.split(", ")[1] for row in rows] == 2 * ["AR", "texts", "ExGra"]
    for row in rows:
        rate, seconds = row.figures["tflops_per_step"] * 1e12, row.figures["step_seconds"]
        assert row.figures["mfu"] == pytest.approx(rate / seconds / 1e12)
        assert row.figures["tokens_per_second"] > 0
    assert "exposed_alignment" in rows[2].figures


def test_the_operations_of_a_step_are_those_that_torch_counts(gpu):
    size = gpu.SIZES["tiny"]
    vlm = gpu.build(size, torch.device("cpu"))
    vlm.set_trainable(["projector", "llm"])
    (batch,) = gpu.make_batches(size, vlm, False, 1)
    with FlopCounterMode(display=False) as counter:
        image_tokens = vlm.encode_images(batch.images)
        vlm.lm_loss(vlm.hidden_states({"lm": (batch.lm, image_tokens)})["lm"], batch.lm).backward()
    products = sum(n for op, n in counter.get_flop_counts()["Global"].items() if "attention" not in str(op))
    attention = 6 * size.llm["num_hidden_layers"] * size.llm["hidden_size"] * batch.lm.layout.lengths.square().sum()
    assert products == pytest.approx(gpu.model_flops(vlm, batch) - attention.item(), rel=0.1)


@pytest.mark.slow
def test_the_matching_part_sends_the_gradients_of_a_step_to_the_loss(pretraining):
    config = pretraining.PretrainConfig(batch_size=16, hidden=16, projection=8, matching=pretraining.PUBLISHED)
    row = pretraining.measure(config, rounds=1)
    assert row.what == "tiny tower, 16 cells, B = 16, published settings"
    assert row.figures["share"] == pytest.approx(row.figures["ms_matching"] / row.figures["ms_step"])
    assert [bar.limit for bar in row.bars] == [0.15]
