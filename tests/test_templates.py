"""The files in templates/ work as they stand, put where their first lines say."""

from __future__ import annotations

import importlib.util
import json
import runpy
import shutil
import sys
from pathlib import Path

import PIL.Image
import pytest

from medgraph import data as sources
from medgraph.alignment.toy import align_toy_world
from medgraph.config import DATA, MODELS, ConfigError, ExperimentConfig, parse, validate
from medgraph.data import build_corpus
from medgraph.data.errors import DataError

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "templates"
SHRINK = (
    "data.fraction=1", "data.num_train=8", "data.num_task=4", "data.num_val=2", "data.num_test=2", "data.num_ood=2",
    "stage1.steps=1", "stage2.steps=1", "stage3.steps=1", "stage1.batch_size=4", "stage2.batch_size=4",
    "stage3.batch_size=4", "eval.limit=2", "trainer.accelerator=cpu", "trainer.progress=false",
)  # fmt: skip


def draw(file: Path) -> None:
    """An image that differs from others: equal files in two splits are left out."""
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (8, 8), tuple(file.name.encode()[:3])).save(file)


@pytest.fixture
def head(tmp_path, monkeypatch):
    """The head in the current folder, found by its path."""
    shutil.copy(TEMPLATES / "head.py", tmp_path / "template_head.py")
    monkeypatch.chdir(tmp_path)
    yield "template_head.MyHead"
    sys.modules.pop("template_head", None)


def test_the_head_is_chosen_from_the_command_line_and_aligns(head):
    config = parse(ExperimentConfig(), [f"alignment={head}", "alignment.temperature=0.2", "stage2.alpha=1"])
    assert config.alignment.temperature == 0.2
    with pytest.raises(ConfigError, match=r"alignment=template_head.MyHead: temperature=0.0 must be positive"):
        validate(parse(ExperimentConfig(), [f"alignment={head}", "alignment.temperature=0"]))
    assert align_toy_world(sys.modules["template_head"].MyHead(), steps=60).recall > 0.5


def test_the_subset_is_read_beside_those_of_med_mat(tmp_path):
    root = shutil.copytree(TEMPLATES / "subset", tmp_path / "release")
    records = json.loads(next(root.glob("*/*.json")).read_text())
    for record in records:
        draw(root / record["image"])
    corpus = build_corpus(parse(ExperimentConfig(), ["data=medmat", f"data.root={root}"]).data)
    found = [record for split in corpus.splits.values() for record in split]
    assert {(record.subset, str(record.triplet)) for record in found} == {("subset-101", "X-ray/Lung/recognition")}
    assert {record.image_id for record in found} == {record["image"] for record in records}


@pytest.fixture
def my_set(tmp_path, monkeypatch):
    """The reader among the readers, and a folder for it; returns its records."""
    spec = importlib.util.spec_from_file_location("medgraph.data.readers.my_set", TEMPLATES / "reader.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(DATA, "my_set", module.MySetConfig)
    monkeypatch.setitem(sources.BUILDERS, "my_set", "readers.my_set:build_my_set")
    records = [
        {"id": i, "split": "test" if i > 9 else "train", "patient": f"p{i // 2}", "image": f"{i}.png",
         "question": "Is there a mass?", "answer": "yes"} for i in range(12)
    ]  # fmt: skip
    for record in records:
        draw(tmp_path / "images" / record["image"])
    return records


def test_the_reader_reads_and_names_what_is_wrong(my_set, tmp_path):
    def read(*options: str):
        (tmp_path / "questions.json").write_text(json.dumps(my_set))
        return build_corpus(parse(ExperimentConfig(), ["data=my_set", f"data.root={tmp_path}", *options]).data)

    corpus = read()
    assert len(corpus.splits["task"] + corpus.splits["val"]) == 10
    assert [record.group for record in corpus.splits["test"]] == ["p5", "p5"]
    my_set[3]["split"] = "tset"
    with pytest.raises(
        DataError, match=r"questions.json, record 3, field 'split': found 'tset', expected one of train"
    ):
        read()
    assert read("data.on_error=quarantine").notes["quarantined: bad split"] == 1


def test_the_backbone_is_a_preset_that_can_be_chosen(monkeypatch):
    monkeypatch.delitem(MODELS, "my-model", raising=False)
    config = runpy.run_path(str(TEMPLATES / "backbone.py"))["config"]()
    validate(config)
    assert parse(ExperimentConfig(), ["model=my-model"]).model == config.model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backbone", "experiment"])
def test_a_study_runs(name, tmp_path, head, monkeypatch):
    monkeypatch.delitem(MODELS, "my-model", raising=False)
    module = runpy.run_path(str(TEMPLATES / f"{name}.py"))
    own = [f"alignment={head}"] if name == "experiment" else []
    outcome = module["main"]([*own, *SHRINK, f"run.root={tmp_path / 'runs'}"])
    assert outcome.results.splits == ["test", "ood"]


def test_contributing_names_every_template():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = {path.name for path in TEMPLATES.iterdir()} - {"__pycache__"}
    assert [name for name in sorted(names) if f"templates/{name}" not in text] == []
