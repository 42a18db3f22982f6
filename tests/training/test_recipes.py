import dataclasses

import pytest

from medgraph.config import (
    ExperimentConfig,
    LoraOptions,
    MixtureConfig,
    PathVQAConfig,
    SlakeConfig,
    StageConfig,
    VQARADConfig,
)
from medgraph.config import model_config as model
from medgraph.training.recipes import resolve

REAL = model("llava-med-7b")


@pytest.mark.parametrize(
    ("data", "connector", "lr", "epochs", "batch_size"),
    [
        (VQARADConfig(), "none", 4e-5, 15, 32),
        (VQARADConfig(), "dci", 2e-5, 15, 32),
        (SlakeConfig(), "none", 4e-5, 15, 64),
        (SlakeConfig(), "dci", 4e-5, 18, 64),
        (PathVQAConfig(), "none", 3e-5, 15, 32),
        (PathVQAConfig(), "dci", 2e-5, 15, 32),
    ],
)
def test_fine_tuning_has_the_published_values_of_its_data_set(data, connector, lr, epochs, batch_size):
    config = ExperimentConfig(data=data, model=dataclasses.replace(REAL, connector=connector))
    stage = resolve(config).stage3
    assert (stage.lr, stage.epochs, stage.batch_size) == (lr, epochs, batch_size)
    assert resolve(dataclasses.replace(config, stage3=StageConfig(lr=1e-3))).stage3.lr == 1e-3


def test_the_task_set_of_a_mixture_decides(tmp_path):
    sources = [
        {"name": "phantom", "splits": ["train", "val"]},
        {"name": "path_vqa", "root": str(tmp_path), "splits": ["task", "test"]},
    ]
    config = ExperimentConfig(data=MixtureConfig(sources=sources), model=REAL)
    assert resolve(config).stage3.lr == 3e-5


def test_the_tiny_preset_keeps_its_own_values_and_other_data_the_papers():
    assert resolve(ExperimentConfig(data=VQARADConfig())).stage3.lr == 3e-4
    assert resolve(ExperimentConfig(model=REAL)).stage3.lr == 4e-5


def test_less_data_takes_as_many_steps():
    config = ExperimentConfig(model=REAL)
    config.data.fraction = 0.1
    assert resolve(config).stage2.epochs == pytest.approx(30)
    assert resolve(config).stage3.epochs == 15


def test_adapters_of_a_real_language_model_learn_faster_than_whole_weights():
    lora = LoraOptions(rank=8)
    config = resolve(ExperimentConfig(model=dataclasses.replace(REAL, lora=lora)))
    assert (config.stage1.lr, config.stage2.lr, config.stage3.lr) == (2e-3, 2e-4, 2e-4)
    given = ExperimentConfig(model=dataclasses.replace(REAL, lora=lora), stage2=StageConfig(lr=1e-3))
    assert resolve(given).stage2.lr == 1e-3
    tower = dataclasses.replace(REAL, lora=LoraOptions(rank=8, parts=["vision"]))
    assert resolve(ExperimentConfig(model=tower)).stage2.lr == 2e-5
    assert resolve(ExperimentConfig(model=model("tiny", lora=lora))).stage2.lr == 1.5e-3
