from __future__ import annotations

import pytest
import torch

from medgraph.config import MODELS, ConfigError, ExperimentConfig, ModelConfig, PhantomConfig, StageConfig, parse
from medgraph.config.presets import BUILT_IN, VISION
from medgraph.models import build
from medgraph.models.build import build_model
from medgraph.models.small import SMALL_VOCABULARY, small_llm, small_vision
from medgraph.models.tokenizer import fit_to_table, train_tokenizer
from medgraph.training.recipes import SMALL, resolve


@pytest.mark.parametrize("name", VISION)
def test_a_short_name_loads_the_tower_of_its_hub_name(name, monkeypatch):
    asked = []
    monkeypatch.setattr(build, "load_vision", lambda source, *rest: asked.append(source) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_model(parse(ExperimentConfig(), [f"model.vision={name}"]).model, [])
    assert asked == [VISION[name]]


def test_presets_and_their_towers_have_names_that_are_known():
    assert all(preset.name == name for name, preset in MODELS.items())
    assert {"tiny", "small", "llava-1.5-7b", "llava-med-7b"} <= set(MODELS)
    for name in [*BUILT_IN, "openai/clip-vit-large-patch14"]:
        assert parse(ExperimentConfig(), [f"model.vision={name}"]).model.vision == name


def test_unknown_towers_are_refused_with_the_known_ones(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"model.vision=resnext: unknown tower; known: tiny, small, clip-vit-b-16, "):
        parse(ExperimentConfig(), ["model.vision=resnext"])
    with pytest.raises(ConfigError, match=r"did you mean 'clip-vit-l-14-336'"):
        parse(ExperimentConfig(), ["model.vision=clip-vit-l-14-335"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert parse(ExperimentConfig(), ["model.vision=mine"]).model.vision == "mine"


def test_small_has_about_100_million_parameters_and_its_own_recipe():
    with torch.device("meta"):
        parts = small_vision(), small_llm(SMALL_VOCABULARY)
    assert 95e6 < sum(p.numel() for part in parts for p in part.parameters()) < 120e6
    stage = resolve(parse(ExperimentConfig(), ["model=small"])).stage1
    assert (stage.lr, stage.steps, tuple(stage.train)) == (
        SMALL["stage1"].lr,
        SMALL["stage1"].steps,
        SMALL["stage1"].train,
    )
    assert resolve(parse(ExperimentConfig(), ["model=small", "model.vision=dinov2-s-14"])).stage1.lr == 2e-3


@pytest.mark.slow
def test_small_runs_without_a_download(tmp_path):
    from medgraph.training.run import run

    once = StageConfig(steps=1, batch_size=2)
    none = StageConfig(steps=0)
    config = ExperimentConfig(
        data=PhantomConfig(num_train=4, num_task=2, num_val=1, num_test=1, num_ood=0),
        model=MODELS["small"], stage1=once, stage2=none, stage3=none,
    )  # fmt: skip
    config.run.root, config.eval.splits, config.eval.controls = str(tmp_path), ["test"], False
    config.eval.max_new_tokens, config.eval.likelihood, config.trainer.progress = 0, False, False
    assert (run(config).folder / "report.html").exists()


def test_padding_is_a_token_with_a_row_and_the_end_must_be_one():
    tokenizer = train_tokenizer(["a"])
    tokenizer.add_special_tokens({"pad_token": "<extra>"})
    fit_to_table(tokenizer, len(tokenizer) - 1)
    assert tokenizer.pad_token == tokenizer.eos_token
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    with pytest.raises(ConfigError, match=f"ends texts with token {tokenizer.eos_token_id}, the model knows 9 tokens"):
        fit_to_table(tokenizer, 9)


def test_a_preset_is_any_tower_with_any_language_model():
    config = parse(ExperimentConfig(), ["model=llava-med-7b", "model.vision=biomedclip", "model.llm=some/llm"]).model
    assert isinstance(config, ModelConfig)
    assert (config.vision, config.llm, config.vision_layer) == ("biomedclip", "some/llm", -2)
