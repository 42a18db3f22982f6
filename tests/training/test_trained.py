import dataclasses
import shutil

import pytest
from safetensors.torch import save_file

from medgraph.config import ConfigError, ExperimentConfig, PhantomConfig, StageConfig, model_config, to_yaml
from medgraph.models.medvlm import PARTS
from medgraph.training.recipes import resolve
from medgraph.training.run import run
from medgraph.training.trained import load_trained, starting_model
from medgraph.training.weights import trained_state

NONE = StageConfig(steps=0)
STEP = StageConfig(steps=1, batch_size=4)


def experiment(root, **changes):
    data = PhantomConfig(num_train=24, num_task=8, num_val=4, num_test=4, num_ood=4)
    model = model_config("tiny", weights="random")
    config = ExperimentConfig(data=data, model=model, stage1=NONE, stage2=STEP, stage3=NONE, **changes)
    config.run.root, config.trainer.accelerator, config.eval.limit = str(root), "cpu", 4
    return config


@pytest.fixture(scope="module")
def first(tmp_path_factory, _vlm):
    """The folder that a run of the given model leaves behind, as far as another one reads it."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "stage2").mkdir()
    (folder / "config.yaml").write_text(to_yaml(resolve(experiment(folder, seed=3))))
    _vlm.tokenizer.save_pretrained(folder / "tokenizer")
    save_file(trained_state(_vlm, PARTS), folder / "stage2" / "weights.safetensors")
    return folder


def weights(vlm):
    return {name: value.clone() for name, value in vlm.state_dict().items()}


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another_and_needs_it_no_more(first, tmp_path):
    before = tmp_path / "before"
    shutil.copytree(first, before)
    config = experiment(tmp_path / "then", start=str(before))
    vlm, identity = starting_model(config, ())
    there = weights(load_trained(before).vlm)
    assert all(value.equal(there[name]) for name, value in vlm.state_dict().items())
    stage = dataclasses.replace(STEP, train=["projector"])
    folder = run(dataclasses.replace(config, stage2=NONE, stage3=stage)).folder
    shutil.rmtree(before)
    after = weights(load_trained(folder).vlm)
    changed = {name.split(".")[0] for name, value in after.items() if not value.equal(there[name])}
    assert changed == {"projector"}
    assert identity is not None
    assert identity in (folder / "data.json").read_text()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("connector", "dci", "start={first}: is a run of another model, different in model.connector=dci (there none)"),
        ("projector", "linear", "model.projector=linear (there mlp2x_gelu); give both the same model.* options"),
    ],
)
def test_another_model_is_refused(first, tmp_path, option, value, message):
    config = experiment(tmp_path, start=str(first))
    config.model = dataclasses.replace(config.model, **{option: value})
    with pytest.raises(ConfigError) as error:
        starting_model(config, ())
    assert message.format(first=first) in str(error.value)


def test_other_ways_to_compute_are_not_another_model(first, tmp_path):
    config = experiment(tmp_path, start=str(first))
    config.model = dataclasses.replace(config.model, text_nodes="pooled", max_length=256)
    assert starting_model(config, ())[0].text_source == "pooled"


def test_what_is_no_finished_run_is_refused(first, tmp_path):
    with pytest.raises(ConfigError, match="is not the folder of a run: it does not exist"):
        starting_model(experiment(tmp_path, start=str(tmp_path / "gone")), ())
    half = tmp_path / "half"
    shutil.copytree(first, half)
    text = (half / "config.yaml").read_text()
    head, stage, tail = text.partition("stage3:\n")
    (half / "config.yaml").write_text(head + stage + tail.replace("steps: 0", "steps: 5", 1))
    with pytest.raises(ConfigError, match="stage3 of that run has not finished; run it to the end first"):
        starting_model(experiment(tmp_path, start=str(half)), ())
