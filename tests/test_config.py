from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medgraph.config import (
    DATA,
    MODELS,
    ConfigError,
    ExperimentConfig,
    MedMATConfig,
    PhantomConfig,
    StageConfig,
    config_hash,
    data_config,
    head_config,
    model_config,
    parse,
    run_dir,
    to_dict,
    to_yaml,
    validate,
)
from medgraph.config.alone import AloneConfig, check_alone


@pytest.fixture
def experiment() -> ExperimentConfig:
    return ExperimentConfig(
        name="study",
        data=PhantomConfig(fraction=0.1, extended="paraphrase", seed=7),
        alignment=head_config("exgra"),
        stage2=StageConfig(alpha=1.0),
    )


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return f"config={path}"

    return write


def changed(default: ExperimentConfig, argv: list[str]) -> dict[str, object]:
    """Dotted keys that the arguments change, with their new values."""
    before, after = flat(to_dict(default)), flat(to_dict(parse(default, argv)))
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


def flat(mapping: dict, prefix: str = "") -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in mapping.items():
        result.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return result


# values


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("--seed=3", "seed", 3),
        ("stage1.lr=1e-4", "stage1.lr", 1e-4),
        ("stage1.lr=2", "stage1.lr", 2.0),
        ("stage2.alpha=0.5", "stage2.alpha", 0.5),
        ("stage2.extended_lm=true", "stage2.extended_lm", True),
        ("trainer.progress=off", "trainer.progress", False),
        ("run.name=007", "run.name", "007"),
        ("run.name=1e3", "run.name", "1e3"),
        ("run.name=on", "run.name", "on"),
        ("run.root=/tmp/a=b", "run.root", "/tmp/a=b"),
        ("stage2.train=[projector,llm]", "stage2.train", ["projector", "llm"]),
        ("stage2.train=projector, llm", "stage2.train", ["projector", "llm"]),
        ("stage2.train=llm", "stage2.train", ["llm"]),
        ("stage2={steps: 5}", "stage2.steps", 5),
        ("stage2.views=answer", "stage2.views", ["answer"]),
        ("alignment.encoder=none", "alignment.encoder", "none"),
        ("model.vision=openai/clip-vit-base-patch32", "model.vision", "openai/clip-vit-base-patch32"),
        ("model.vision_layer=-3", "model.vision_layer", -3),
        ("alignment.k=2", "alignment.k", 2),
    ],
)
def test_a_value_gets_the_type_of_its_field(experiment, argument, key, value):
    assert changed(experiment, [argument]) == {key: value}
    assert type(changed(experiment, [argument])[key]) is type(value)


def test_null_unsets_an_optional_value():
    default = ExperimentConfig(stage1=StageConfig(steps=5, train=["llm"]))
    config = parse(default, ["stage1.steps=null", "stage1.epochs=2", "stage1.train=none"])
    assert (config.stage1.steps, config.stage1.epochs, config.stage1.train) == (None, 2.0, None)


def test_the_last_value_wins(experiment):
    assert parse(experiment, ["seed=1", "seed=2"]).seed == 2


def test_interpolation_of_environment_variables(experiment, monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS", str(tmp_path))
    assert parse(experiment, ["run.root=${oc.env:RESULTS}"]).run.root == str(tmp_path)
    with pytest.raises(ConfigError, match="NOPE"):
        parse(experiment, ["run.root=${oc.env:NOPE}"])


def test_the_home_folder(experiment, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse(experiment, ["run.root=~/results"]).run.root == str(tmp_path / "results")


def test_a_study_may_have_no_ood_split(experiment):
    assert parse(experiment, ["data.num_ood=0", "data.holdout=0"]).data.num_ood == 0


def test_parse_leaves_the_default_alone_and_shares_nothing_with_it(experiment):
    before = copy.deepcopy(experiment)
    config = parse(experiment, ["stage2.train=llm", "alignment=none"])
    assert experiment == before
    config.stage1.train = ["vision"]
    assert experiment.stage1.train is None


# choices


def test_choices_come_before_options_in_any_order(experiment, tmp_path):
    config = parse(experiment, ["data.subsets=01,08,14", f"data.root={tmp_path}", "data=medmat"])
    assert isinstance(config.data, MedMATConfig)
    assert config.data.subsets == ["01", "08", "14"]


def test_another_source_keeps_what_describes_the_study(experiment, tmp_path):
    data = parse(experiment, ["data=medmat", f"data.root={tmp_path}"]).data
    assert (data.name, data.fraction, data.extended, data.seed) == ("medmat", 0.1, "paraphrase", 7)


def test_choosing_what_is_there_changes_nothing(experiment):
    experiment.data.num_train = 11
    assert changed(experiment, ["data=phantom", "model=tiny", "alignment=exgra"]) == {}


def test_a_model_preset_replaces_the_whole_group(experiment):
    assert parse(experiment, ["model=llava-1.5-7b"]).model == MODELS["llava-1.5-7b"]
    assert ExperimentConfig().model == MODELS["tiny"]


def test_presets_cannot_be_changed_through_a_configuration():
    config = parse(ExperimentConfig(), ["model=llava-1.5-7b"])
    config.model.llm = "other"
    assert MODELS["llava-1.5-7b"].llm == "lmsys/vicuna-7b-v1.5"


def test_functions_that_choose_refuse_unknown_names_and_options():
    assert data_config("phantom", num_train=3).num_train == 3
    assert model_config("tiny", max_length=64).max_length == 64
    assert head_config("exgra", k=3).k == 3
    with pytest.raises(ConfigError, match=r"data=phantom has no option 'num_trian'; did you mean 'num_train'\?"):
        data_config("phantom", num_trian=3)
    with pytest.raises(ConfigError, match=r"alignment=none has no option 'k'; it has none"):
        head_config("none", k=3)


# files


@pytest.mark.parametrize("text", ["data: medmat\n", "data: {name: medmat, subsets: [01, 08]}\n"])
def test_choice_in_a_file(experiment, write, tmp_path, text):
    config = parse(experiment, [write(text), f"data.root={tmp_path}"])
    assert isinstance(config.data, MedMATConfig)
    assert config.data.subsets == (["01", "08"] if "subsets" in text else [])


def test_arguments_win_over_files_wherever_they_stand(experiment, write):
    config = parse(experiment, ["seed=1", write("seed: 2\nstage1: {lr: 1e-4}\n")])
    assert (config.seed, config.stage1.lr) == (1, 1e-4)


def test_a_choice_on_the_command_line_wins_over_the_options_of_a_file(experiment, write):
    file = write("alignment: {name: exgra, k: 2}\n")
    assert parse(experiment, [file, "alignment=none"]).alignment == head_config("none")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["alignment=infonce", "seed=5", "run.name=null", "stage2.train=projector,llm"],
        ["model=llava-med-7b", "stage3.steps=0", "stage1.lr=1e-5", "run.name=007"],
        ["data=medmat", "data.root=.", "data.subsets=01,14"],
    ],
)
def test_yaml_round_trip(experiment, write, argv):
    config = parse(experiment, argv)
    again = parse(ExperimentConfig(), [write(to_yaml(config))])
    assert again == config
    assert config_hash(again) == config_hash(config)
    assert yaml.safe_load(to_yaml(config)) == to_dict(config)


# mistakes: every message names the key, the value and the way out, in one line


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        # keys
        ("aligment.k=3", "aligment.k=3: unknown key; did you mean 'alignment.k'?"),
        ("sed=1", "sed=1: unknown key; did you mean 'seed'?"),
        ("stage2.stepz=1", "stage2.stepz=1: unknown key; did you mean 'stage2.steps'?"),
        ("stage4.steps=1", "stage4.steps=1: unknown key; did you mean 'stage3.steps'?"),
        ("lr=1", "lr=1: unknown key; did you mean stage1.lr or stage2.lr or stage3.lr?"),
        ("fraction=1", "fraction=1: unknown key; did you mean data.fraction?"),
        ("run.banana=1", "run.banana=1: unknown key; known: run.root, run.name"),
        ("seed.x=1", "seed.x=1: unknown key; did you mean 'seed'?"),
        ("data.root=x", "data.root=x: this key belongs to data=medmat, vqa_rad, slake, path_vqa, "),
        ("alignment.symmetric=no", "this key belongs to alignment=infonce, ot, uot; add one of them"),
        ("stage1=3", "stage1=3: stage1 is a group; set its fields, e.g. stage1.steps=…"),
        ("seed", "'seed': expected key=value"),
        ("=3", "'=3': expected key=value"),
        ("--help", "'--help': expected key=value"),
        # types
        ("seed=abc", "seed=abc: expected an integer"),
        ("seed=1.5", "seed=1.5: expected an integer"),
        ("seed=", "seed=: expected an integer"),
        ("seed=null", "seed=null: expected an integer"),
        ("seed=[1,2]", "seed=[1,2]: expected an integer"),
        ("stage1.steps=many", "stage1.steps=many: expected an integer or null"),
        ("stage1.lr=fast", "stage1.lr=fast: expected a number or null"),
        ("trainer.progress=maybe", "trainer.progress=maybe: expected true or false"),
        ("trainer.precision=fp16", "trainer.precision=fp16: expected auto or 32-true or bf16-mixed"),
        ("data.extended=both", "data.extended=both: expected paraphrase or context"),
        ("run.name=[a]", "run.name=[a]: expected a text or null"),
        # ranges
        ("seed=-1", "seed=-1: expected an integer from 0"),
        ("data.fraction=0", "data.fraction=0.0: expected a share in (0, 1]"),
        ("data.fraction=10", "data.fraction=10.0: expected a share in (0, 1]"),
        ("data.fraction=nan", "data.fraction=nan: expected a finite number"),
        ("data.num_train=0", "data.num_train=0: expected at least 1"),
        ("stage1.steps=-1", "stage1.steps=-1: expected 0 or more"),
        ("stage1.lr=0", "stage1.lr=0.0: expected a number above 0"),
        ("stage1.lr=inf", "stage1.lr=inf: expected a finite number"),
        ("stage2.warmup=1", "stage2.warmup=1.0: expected a share in [0, 1)"),
        ("stage2.train=llm,head", "stage2.train=head: expected parts out of vision, projector, llm"),
        ("eval.limit=0", "eval.limit=0: expected at least 1"),
        ("eval.splits=[train]", "eval.splits=train: expected splits out of val, test, ood"),
        ("eval.splits=[]", "eval.splits is empty: expected splits out of val, test, ood"),
        ("trainer.threads=0", "trainer.threads=0: expected at least 1"),
        ("stage2.train=", "stage2.train is empty; to leave a stage out set stage2.steps=0"),
        ("trainer.sharded_checkpoints=true", "is for trainer.strategy=fsdp, not auto"),
        ("trainer.devices=0", "trainer.devices=0: expected at least 1, or auto"),
        ("trainer.devices=two", "trainer.devices=two: expected at least 1, or auto"),
        ("name=a/b", "name=a/b: expected a folder name"),
        ("run.name=..", "run.name=..: expected a folder name"),
        ("run.root=", "run.root=: expected a folder"),
        # choices and combinations
        ("data=medmatt", "data=medmatt: unknown data source; did you mean 'medmat'?"),
        ("data=medmat", "data.root is not set: data=medmat needs the folder"),
        ("model=llava", "model=llava: unknown preset"),
        ("alignment=exgrah", "alignment=exgrah: no alignment head is called 'exgrah'"),
        ("alignment=no.such.Head", "alignment=no.such.Head: cannot import"),
        ("alignment=pathlib.Path", "alignment=pathlib.Path: 'pathlib.Path' is not a subclass of"),
        ("alignment.k=0", "alignment=exgra: "),
        ("stage2.alpha=0", "alignment=exgra has no effect while every alpha is 0; add stage2.alpha=1"),
        ("stage2.queue=-1", "stage2.queue=-1: expected 0 or more"),
        ("stage2.views=", "stage2.views=[]: expected one or both of answer, extended"),
        ("stage2.views=answer,long", "stage2.views=['answer', 'long']: expected one or both of answer, extended"),
        ("stage3.queue=8", "stage3.queue=8 has no effect while stage3.alpha is 0; leave it out"),
        # files
        ("config=no.yaml", "config=no.yaml: no such file"),
    ],
)
def test_mistakes(experiment, argument, message):
    with pytest.raises(ConfigError) as error:
        parse(experiment, [argument])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_queue_needs_a_head_and_graphs_that_have_a_use_for_it(experiment):
    with pytest.raises(ConfigError, match=r"stage2\.queue=8: MGCAHead reads tokens, which a queue does not keep"):
        parse(experiment, ["alignment=mgca", "stage2.queue=8"])
    graphs = ["alignment.graph_size=16", "stage2.queue=8"]
    with pytest.raises(ConfigError, match=r"no effect while stage2\.batch_size=16 fills the graphs of .*graph_size=16"):
        parse(experiment, [*graphs, "stage2.batch_size=16"])
    assert parse(experiment, [*graphs, "stage2.batch_size=8"]).stage2.queue == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [1\n", "config.yaml, line 2: not valid YAML: expected ',' or ']'"),
        ("- a\n- b\n", "config.yaml: expected keys and values at the top level"),
        ("", "config.yaml: expected keys and values at the top level"),
        ("seed: 1\nseed: 2\n", "config.yaml, line 1: not valid YAML: key 'seed' occurs twice"),
        ("sead: 1\n", "config.yaml: sead=1: unknown key; did you mean 'seed'?"),
        ("stage1: {steps: x}\n", "config.yaml: stage1.steps=x: expected an integer or null"),
        ("data: {name: medmat, num_train: 3}\n", "this key belongs to data=phantom; add data=phantom"),
    ],
)
def test_mistakes_in_a_file(experiment, write, text, message):
    with pytest.raises(ConfigError) as error:
        parse(experiment, [write(text)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_text(experiment, tmp_path):
    (tmp_path / "model.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not readable as text"):
        parse(experiment, [f"config={tmp_path / 'model.yaml'}"])


def test_steps_and_epochs_exclude_each_other(experiment):
    with pytest.raises(ConfigError, match=r"stage1.steps=3 and stage1.epochs=1.0: set one of them"):
        parse(experiment, ["stage1.steps=3", "stage1.epochs=1"])


def test_the_data_root_must_exist(experiment):
    with pytest.raises(ConfigError, match=r"data.root=/no/where: no such folder"):
        parse(experiment, ["data=medmat", "data.root=/no/where"])


def test_defaults_are_valid():
    validate(ExperimentConfig())
    for name in MODELS:
        validate(ExperimentConfig(model=model_config(name)))


def test_every_data_source_names_itself():
    assert all(cls().name == name for name, cls in DATA.items())


# user heads


HEAD = """
from __future__ import annotations
from typing import Literal
from medgraph.alignment.head import AlignmentHead, AlignmentOutput

class MyHead(AlignmentHead):
    "Do nothing."
    def __init__(self, temperature: float = 0.1, mode: Literal["a", "b"] = "a", names: list[str] = ["x"]) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature={temperature}: expected a positive number")
        self.temperature, self.mode, self.names = temperature, mode, names
    def forward(self, nodes):
        return AlignmentOutput(nodes.image.pooled.sum() * 0)

class NoDefault(MyHead):
    def __init__(self, k: int) -> None: ...

class NoAnnotation(MyHead):
    def __init__(self, k=1) -> None: ...

class TakesName(MyHead):
    def __init__(self, name: str = "") -> None: ...

class TakesAFunction(MyHead):
    def __init__(self, f: type[MyHead] = MyHead) -> None: ...
"""


@pytest.fixture
def user_package(tmp_path, monkeypatch):
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "my_file.py").write_text(HEAD)
    monkeypatch.chdir(tmp_path)
    yield "my_pkg.my_file"
    for name in [name for name in sys.modules if name.startswith("my_pkg")]:
        del sys.modules[name]


def test_a_head_in_a_file_below_the_current_folder(experiment, user_package, write):
    head = f"{user_package}.MyHead"
    config = parse(experiment, [f"alignment={head}", "alignment.temperature=0.2", "alignment.names=p,q"])
    assert to_dict(config)["alignment"] == {"name": head, "temperature": 0.2, "mode": "a", "names": ["p", "q"]}
    assert parse(experiment, [write(to_yaml(config))]) == config
    for argument, message in [
        ("alignment.temperature=0", f"alignment={head}: temperature=0.0: expected a positive number"),
        ("alignment.mode=c", "alignment.mode=c: expected a or b"),
        ("alignment.temprature=1", "did you mean 'alignment.temperature'?"),
    ]:
        with pytest.raises(ConfigError) as error:
            parse(config, [argument])
        assert message in str(error.value)


def test_the_default_of_a_list_option_is_not_shared(user_package):
    head_config(f"{user_package}.MyHead").names.append("y")
    assert head_config(f"{user_package}.MyHead").names == ["x"]


@pytest.mark.parametrize("name", ["NoDefault", "NoAnnotation", "TakesName", "TakesAFunction"])
def test_a_head_that_breaks_the_convention(user_package, name):
    with pytest.raises(ConfigError, match=rf"alignment={user_package}.{name}: {name}.__init__"):
        head_config(f"{user_package}.{name}")


def test_classic_fsdp_is_refused_on_the_cpu(experiment):
    with pytest.raises(ConfigError, match="fsdp1: classic FSDP needs GPUs"):
        parse(experiment, ["trainer.strategy=fsdp1", "trainer.accelerator=cpu"])


def test_compiled_blocks_are_not_sharded(experiment):
    with pytest.raises(ConfigError, match="compiled blocks are not sharded"):
        parse(experiment, ["trainer.strategy=fsdp", "trainer.compile=true"])


# identity


def test_the_hash_is_what_is_computed_and_not_where_or_how_it_is_shown(experiment):
    same = ["run.root=/elsewhere", "run.name=x", "trainer.progress=false", "trainer.threads=2", "trainer.num_workers=1"]
    other = ["seed=1", "data.fraction=0.2", "alignment.k=2", "stage2.alpha=2", "trainer.precision=bf16-mixed"]
    assert {config_hash(parse(experiment, [argument])) for argument in same} == {config_hash(experiment)}
    assert len({config_hash(parse(experiment, [argument])) for argument in other} | {config_hash(experiment)}) == 6


def test_the_hash_has_the_batch_of_all_devices(experiment):
    def hashed(*arguments):
        return config_hash(parse(experiment, arguments))

    alone = hashed("stage2.batch_size=8")
    assert hashed("stage2.batch_size=4", "trainer.devices=2", "trainer.strategy=fsdp") == alone
    assert hashed("stage2.batch_size=2", "trainer.devices=2", "trainer.num_nodes=2") == alone
    assert hashed("stage2.batch_size=8", "trainer.devices=2") != alone


def test_run_dir(experiment):
    assert run_dir(experiment) == Path("runs") / "study" / config_hash(experiment)
    assert run_dir(parse(experiment, ["run.name=a", "run.root=/r"])) == Path("/r/study/a")


def test_a_configuration_survives_copying(experiment):
    assert copy.deepcopy(experiment) == experiment
    assert dataclasses.replace(experiment) == experiment


def test_importing_the_package_imports_neither_torch_nor_lightning():
    code = "import sys, medgraph.config; sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("steps=-1", "0 or more"),
        ("steps=0", "at least 1"),
        ("batch_size=0", "at least 1"),
        ("lr=0", "a number above 0"),
        ("warmup=1", "a share in \\[0, 1\\)"),
        ("grad_clip=-1", "0 or more"),
        ("trainer.num_nodes=2", "one device"),
        ("data=medmat", "data.root is not set"),
        ("name=a/b", "a folder name"),
    ],
)
def test_trainings_on_one_device_share_their_ranges(argument, expected):
    narrower = [("at least 1", lambda value: value >= 1, "steps")] if argument == "steps=0" else []
    with pytest.raises(ConfigError, match=expected):
        parse(AloneConfig(), [argument], lambda config: check_alone(config, narrower))
