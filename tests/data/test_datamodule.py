"""Data modules with a plain LightningModule and Trainer, and resuming in the middle of an epoch."""

import json

import pytest

import medgraph.data
from medgraph.config import ConfigError
from medgraph.data.errors import DataError

PHANTOM = {"num_train": 24, "num_task": 8, "num_val": 4, "num_test": 4, "num_ood": 4}


@pytest.fixture
def phantom(tokens):
    return lambda **options: medgraph.data.PhantomDataModule(tokens, 8, 64, **{**PHANTOM, **options})


def test_a_data_module_trains_validates_and_tests_without_a_configuration(phantom, recorder, trainer):
    data, model = phantom(), recorder()
    runner = trainer()
    runner.fit(model, datamodule=data)
    assert len(model.trained) == 3
    assert set(model.asked) == {record.id for record in data.corpus.splits["val"]}
    model.asked = []
    runner.test(model, datamodule=data, verbose=False)
    assert model.asked == [record.id for name in ("test", "ood") for record in data.corpus.splits[name]]


@pytest.mark.filterwarnings("ignore:.*dataloader is not resumable", "ignore:.*does not have many workers")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_resumed_run_trains_on_exactly_what_is_left(phantom, resumed, workers, stop):
    left, trained = resumed(lambda: phantom(loader={"num_workers": workers}), stop, max_epochs=2)
    assert trained == left
    assert len(left) == 6 - stop


def test_other_data_is_refused_on_resume(phantom, recorder, trainer, tmp_path):
    runner = trainer(max_steps=1)
    runner.fit(recorder(), datamodule=phantom())
    runner.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(DataError, match="the checkpoint was trained on data"):
        trainer().fit(recorder(), datamodule=phantom(seed=1), ckpt_path=tmp_path / "x.ckpt", weights_only=True)


def test_each_kind_of_source_has_its_module(tokens, tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for i in range(9):
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / f"{i}.png")
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "This."}]
    talks = [{"id": str(i), "image": f"{i}.png", "conversations": turns} for i in range(9)]
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    module = medgraph.data.InstructionDataModule(str(tmp_path / "talks.json"), tokens, 2, 64, test_share=0.0)
    assert len(module.dataset) + len(module.validation) == 9
    rows = [{"image": f"images/{i}.png", "question": "Is it?", "answer": "no"} for i in range(9)]
    (tmp_path / "table.json").write_text(json.dumps(rows))
    exam = medgraph.data.VQADataModule("manifest", str(tmp_path / "table.json"), tokens, 2, 64)
    assert exam.split == "task"
    with pytest.raises(ConfigError, match="root is not set: data=medmat needs the folder"):
        medgraph.data.MedMATDataModule("", tokens, 2, 64)
    with pytest.raises(ConfigError, match="has no option 'num_trian'"):
        medgraph.data.PhantomDataModule(tokens, 2, 64, num_trian=3)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        medgraph.data.nothing  # noqa: B018
