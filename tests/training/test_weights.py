from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from medgraph.config import ConfigError, ExperimentConfig, LoraOptions, PhantomConfig, StageConfig, model_config, parse
from medgraph.data.collate import Tokens, collate_questions
from medgraph.data.loading import ImageCache
from medgraph.evaluation.predictions import read_predictions
from medgraph.models.lora import add_lora, merge_lora
from medgraph.training.module import StageModule
from medgraph.training.representations import load_run
from medgraph.training.run import run
from medgraph.training.trained import load_trained
from medgraph.training.weights import check_names, load_weights, trained_state, without_frozen


@pytest.fixture
def adapted(vlm):
    add_lora(vlm, LoraOptions(rank=2))
    return vlm


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A short run with adapters whose second stage was interrupted by a validation that fails."""
    config = ExperimentConfig(
        data=PhantomConfig(num_train=8, num_task=4, num_val=2, num_test=2, num_ood=2),
        model=model_config("tiny", weights="random", lora=LoraOptions(rank=2, dora=True)),
        stage1=StageConfig(steps=2, batch_size=4),
        stage2=StageConfig(steps=4, batch_size=4, train=["projector", "llm"], lr=3e-3),
        stage3=StageConfig(steps=0),
    )
    root = tmp_path_factory.mktemp("lora")
    options = "trainer.accelerator=cpu trainer.checkpoint_every=2 eval.splits=[test] eval.controls=false"
    answers = "eval.likelihood=false eval.max_new_tokens=24"
    config = parse(config, [f"run.root={root}", "run.name=r", *options.split(), *answers.split()])
    seen = {}
    validate = StageModule.validation_step

    def fail(self, *arguments):
        if self.stage.train == ["projector", "llm"] and self.global_step == 3:
            raise KeyboardInterrupt
        return validate(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageModule, "validation_step", fail)
        with pytest.raises(KeyboardInterrupt):
            run(config)
        file = max((root / "experiment" / "r" / "stage2").glob("*.ckpt"))
        seen["checkpoint"] = torch.load(file, weights_only=True)["state_dict"]
        seen["size"] = file.stat().st_size
    return run(config), seen


@pytest.mark.slow
def test_a_stage_with_adapters_saves_them_and_the_projector(outcome):
    finished, seen = outcome
    weights = {n: load_file(finished.folder / f"stage{n}" / "weights.safetensors") for n in (1, 2)}
    assert {name.split(".")[0] for name in weights[1]} == {"projector"}
    assert {name.split(".")[0] for name in weights[2]} == {"projector", "llm"}
    assert all(name.startswith("projector") or ".lora_" in name for name in weights[2])
    assert any(value.any() for name, value in weights[2].items() if ".lora_B" in name)
    assert {name.removeprefix("vlm.") for name in seen["checkpoint"]} == weights[2].keys()
    size = (finished.folder / "stage2" / "weights.safetensors").stat().st_size
    whole = sum(4 * p.numel() for p in load_trained(finished.folder).vlm.parameters())
    print(
        f"model {whole / 1e3:.0f} kB, weights of the stage {size / 1e3:.0f} kB, checkpoint {seen['size'] / 1e3:.0f} kB"
    )
    assert size < 0.1 * whole


@pytest.mark.slow
def test_a_run_with_adapters_loads_and_answers_and_merges(outcome):
    finished, _ = outcome
    _, corpus, vlm = load_run(finished.folder)
    tokens, images = Tokens(vlm.tokenizer, vlm.num_image_tokens, 512), ImageCache(corpus, vlm.vision.image_size)
    records = corpus.splits["test"]
    questions = collate_questions([(images(record.image), record) for record in records], tokens)
    answers = [p.prediction for p in read_predictions(finished.folder / "predictions.jsonl")]
    assert vlm.generate(questions, 24) == answers
    assert 0 < merge_lora(vlm) < 1e-5
    assert vlm.generate(questions, 24) == answers


def test_weights_and_statistics_come_back(adapted, tmp_path):
    adapted.projector.register_buffer("mean", torch.arange(3.0))
    adapted.vision.register_buffer("frozen", torch.arange(3.0))
    state = trained_state(adapted, ["projector", "llm"])
    assert {name for name in state if ".lora_" not in name and "projector" not in name} == set()
    save_file(state, tmp_path / "w")
    adapted.projector.mean.zero_()
    for parameter in adapted.trained_parameters(["projector", "llm"]).values():
        torch.nn.init.ones_(parameter)
    load_weights(adapted, ["projector", "llm"], tmp_path / "w")
    found = adapted.state_dict()
    assert all(found[name].equal(value) for name, value in state.items())


def test_weights_of_another_model_are_refused(adapted, vlm, tmp_path):
    file, parts = tmp_path / "weights.safetensors", ["projector", "llm"]
    state = trained_state(adapted, parts)
    name = next(name for name in state if ".lora_A" in name)
    save_file({key: value for key, value in state.items() if key != name}, file)
    with pytest.raises(ConfigError, match=f"weights.safetensors lacks {name}; it was written with other model"):
        load_weights(adapted, parts, file)
    save_file({**state, "llm.more": torch.zeros(1)}, file)
    with pytest.raises(ConfigError, match=r"weights.safetensors has the unknown llm.more; it was"):
        load_weights(adapted, parts, file)
    save_file({**state, name: torch.zeros(3, 96)}, file)
    with pytest.raises(ConfigError, match=rf"weights.safetensors: {name} is \(3, 96\), in this model \(2, 96\)"):
        load_weights(adapted, parts, file)
    save_file(state, file)
    with pytest.raises(ConfigError, match=r"has the unknown llm\.\S+, \S+, \S+ and \d+ more"):
        load_weights(adapted, ["projector"], file)


def test_both_directions_are_named():
    with pytest.raises(ConfigError, match=r"^x lacks a, b and has the unknown d; it was written"):
        check_names("x", ["c", "d"], ["a", "b", "c"])


def test_scales_of_quantised_weights_go_with_them():
    state = {"a.weight": 1, "a.weight.absmax": 2, "a.weight.quant_state.nf4": 3, "a.lora_A.weight": 4, "b.weight": 5}
    assert without_frozen(state, {"a.weight"}) == {"a.lora_A.weight": 4, "b.weight": 5}


def test_a_checkpoint_of_another_stage_is_refused(adapted):
    module = StageModule(adapted, None, StageConfig(train=["projector"]), 1, 0, 4)
    module._trainer = type("Trainer", (), {"strategy": None})()
    with pytest.raises(ConfigError, match=r"the checkpoint lacks vlm.projector.0.bias"):
        module.on_load_checkpoint({"state_dict": {}})
