import base64
import io
import re

import numpy as np
import PIL.Image
import pytest
import torch
from rich.console import Console

from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, head_config, model_config
from medgraph.data import build_corpus
from medgraph.data.collate import Tokens
from medgraph.data.conversation import IGNORE
from medgraph.data.loading import ImageCache
from medgraph.models.build import build_model
from medgraph.report.inspection import HalfBlocks
from medgraph.training.inspection import inspect_split
from medgraph.training.prepare import complete, corpus_texts
from medgraph.training.stages import plan_stages

EXPERIMENT = """
from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, head_config

def config():
    data = PhantomConfig(num_train=24, num_task=8, num_val=4, num_test=4, num_ood=4, augment=["shift"])
    stages = {name: StageConfig(batch_size=4, steps=1) for name in ("stage1", "stage3")}
    stage2 = StageConfig(batch_size=4, steps=1, alpha=1.0, extended_lm=True)
    return ExperimentConfig(name="study", data=data, alignment=head_config("exgra"), stage2=stage2, **stages)
"""


@pytest.fixture(scope="module")
def config():
    names: dict = {}
    exec(EXPERIMENT, names)
    return names["config"]()


@pytest.fixture(scope="module")
def inspection(config):
    return inspect_split(config, "train", 3)


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "study.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return "study.py"


def test_what_is_shown_is_the_first_batch_of_training(config, inspection):
    config = complete(config)
    corpus = build_corpus(config.data)
    vlm = build_model(config.model, corpus_texts(corpus))
    tokens, images = Tokens(vlm.tokenizer, vlm.num_image_tokens, 512), ImageCache(corpus, vlm.vision.image_size)
    batch = next(iter(plan_stages(config, corpus, tokens, images, aligned=True)["stage2"].data.train_dataloader()))
    encoded = {"conversation": batch.lm, "with extended answers": batch.lm_extended} | {
        f"view {name}": text for name, text in batch.texts.items()
    }
    assert len(inspection.samples) == 3
    for row, sample in enumerate(inspection.samples):
        assert torch.equal(torch.from_numpy(sample.image.copy()).permute(2, 0, 1), batch.images[row])
        assert sample.sequences.keys() == encoded.keys()
        for name, segments in sample.sequences.items():
            tokens_ = encoded[name]
            assert [i for s in segments for i in s.ids] == tokens_.ids[row][tokens_.mask[row]].tolist()
            if tokens_.labels is not None:
                labels = tokens_.labels[row]
                supervised = [i for s in segments if s.kind == "supervised" for i in s.ids]
                assert supervised == labels[labels != IGNORE].tolist()


def test_texts_are_whole_and_answers_are_marked(inspection):
    for sample in inspection.samples:
        segments = sample.sequences["conversation"]
        kinds = [s.kind for s in segments]
        assert kinds[:4] == ["special", "text", "image", "text"]
        assert (segments[2].text, len(segments[2].ids)) == ("<image>", 16)
        answers = [s.text for s in segments if s.kind == "supervised"]
        assert answers
        assert all(text.startswith(" ") and text.endswith("</s>") for text in answers)
        assert "ASSISTANT:" in "".join(s.text for s in segments)


def test_the_command_prints_what_can_be_read_without_colours(medgraph, study, tmp_path):
    code, out, _ = medgraph("inspect", study, "--n", 1, "--stage2.alpha=0.5", "--ids", "--html", tmp_path / "x.html")
    assert code == 0
    assert out.startswith("study: stage2 on train")
    assert "<image>×16" in out
    assert re.search(r"ASSISTANT:⟦ .*?</s>⟧", out)
    for name in ("conversation", "with extended answers", "view answer", "view extended"):
        assert re.search(rf"^{name}: \d+ tokens", out, re.MULTILINE), name
    assert re.search(r"\d+ \d+ \d+ \d+", out)
    page = (tmp_path / "x.html").read_text()
    assert '<span class="supervised">⟦' in page
    pixels = PIL.Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])))
    assert pixels.size == (64, 64)


def test_questions_have_nothing_supervised(medgraph, study):
    code, out, _ = medgraph("inspect", study, "--split", "ood", "--n", 2)
    assert code == 0
    assert out.startswith("study: questions of ood")
    assert out.count("prompt: ") == 2
    assert out.count(" 0 supervised") == 2
    assert medgraph("inspect", study, "--split", "gold")[0] == 2


def test_stage_3_is_what_trains_on_the_task():
    config = ExperimentConfig(
        data=PhantomConfig(num_train=8, num_task=8, num_val=2, num_test=2, num_ood=2),
        model=model_config("tiny"), alignment=head_config("none"), stage2=StageConfig(steps=0, batch_size=4),
        stage1=StageConfig(steps=1, batch_size=4), stage3=StageConfig(steps=1, batch_size=4),
    )  # fmt: skip
    assert inspect_split(config, "task", 1).title == "experiment: stage3 on task"
    assert inspect_split(config, "train", 1).title == "experiment: stage1 on train"


def test_half_blocks_hold_two_pixels():
    image = np.zeros((4, 4, 3), np.uint8)
    image[::2] = (255, 0, 0)
    console = Console(color_system="truecolor", force_terminal=True, width=20)
    with console.capture() as captured:
        console.print(HalfBlocks(image, columns=4))
    assert captured.get().count("38;2;255;0;0;48;2;0;0;0m▀") == 8
    plain = Console(color_system=None, width=20)
    with plain.capture() as captured:
        plain.print(HalfBlocks(np.full((4, 4, 3), 255, np.uint8), columns=4))
    assert captured.get() == "@@@@\n@@@@\n"


def test_estimate_prints_every_stage(medgraph, study):
    code, out, err = medgraph("estimate", study, "--gpu", "h200", "stage1.steps=0")
    assert (code, err) == (0, "")
    assert out.startswith("Estimate for each device (H200, 131.3 GiB free)")
    listed = [name for name in ("stage1", "stage2", "stage3") if f"{name}: 1 steps, batches of" in out]
    assert listed == ["stage2", "stage3"]
    assert "Times are of training steps at 40% of the device's peak." in out
