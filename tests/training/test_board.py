import io

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from medgraph.evaluation.estimate import Estimate
from medgraph.report.answered import draw_answered
from medgraph.training.board import CHARTS, Board, layout, write_hyperparameters


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def charts_of(events: EventAccumulator) -> dict[str, list[str]]:
    """Titles of the charts by group, as TensorBoard reads them."""
    content = events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    parsed = layout_pb2.Layout.FromString(content)
    return {group.title: [chart.title for chart in group.chart] for group in parsed.category}


def test_charts_come_with_what_is_logged(tmp_path):
    board = Board(tmp_path, "stage2")
    board.log_metrics({"train/loss": 1.0, "train/lr": 0.1, "epoch": 0}, 0)
    board.log_metrics({"val/accuracy": 0.5}, 1)
    board.finalize("success")
    events = read(tmp_path / "stage2")
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/lr", "val/accuracy"}
    assert charts_of(events) == {
        "Loss": ["total and parts"], "Validation": ["accuracy"], "Optimiser": ["learning rate"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "group"),
    [
        ("train/loss", "Loss"), ("train/lm_extended", "Loss"), ("train/align", "Loss"), ("train/align/hamming", "Loss"),
        ("train/invariance", "Loss"), ("train/align/match_accuracy", "Matching"), ("train/align/cos_off", "Matching"),
        ("train/align/solver_gap", "Matching"), ("train/align/solver_seconds", "Speed"), ("train/lr", "Optimiser"),
        ("train/grad_norm", "Optimiser"), ("train/align/grad_norm/image", "Optimiser"), ("val/knn", "Validation"),
        ("train/images_per_sec", "Speed"), ("val/effective_rank", "Validation"), ("val/feature_sd", "Validation"),
        ("val/zero_shot_label", "Validation"), ("val/image_to_text_5", "Validation"),
    ],
)  # fmt: skip
def test_every_tag_is_in_one_chart(tag, group):
    found = layout([tag])
    assert list(found) == [group]
    assert len(found[group]) == 1


def test_no_chart_is_drawn_without_its_tags():
    assert layout(["epoch"]) == {}
    assert sum(map(len, CHARTS.values())) == 16


def test_hyperparameters_stand_beside_results_with_their_intervals(tmp_path):
    config = {
        "seed": 3, "alignment": {"name": "exgra", "k": 5, "tau": None}, "stage1": {"train": ["llm"]},
        "trainer": {"devices": 2},
    }  # fmt: skip
    for value in (0.1, 0.5):  # the second replaces the first
        write_hyperparameters(tmp_path, config, {"test": Estimate(value, 0.4, 0.6)})
    events = read(tmp_path / "tensorboard" / "result")
    found = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {
        "result/test/value": [0.5], "result/test/low": [pytest.approx(0.4)], "result/test/high": [pytest.approx(0.6)]
    }  # fmt: skip
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert sorted(settings) == ["alignment.k", "alignment.name", "seed", "stage1.train"]
    assert settings["seed"].number_value == 3


def test_answers_stand_under_their_images():
    images = np.zeros((5, 8, 8, 3), np.uint8)
    texts = [(f"question {i}?", "left lung", "" if i else "$\\frac lung\x7f") for i in range(5)]
    figure = draw_answered(images, texts, [False, True, False, False, False])
    figure.savefig(io.BytesIO())
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said[:4] == ["✗ $\\frac lung�", "truth: left lung", "✓ (empty)", "truth: left lung"]
    assert [axes.get_title() for axes in figure.axes[:5]] == [f"question {i}?" for i in range(5)]
    assert len(figure.axes) == 8
