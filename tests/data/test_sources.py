"""Every source is a choice on the command line, and runs from there to a report."""

import json

import pytest
from PIL import Image

from medgraph.config import DATA, ConfigError, ExperimentConfig, data_config, parse
from medgraph.data import BUILDERS, build_corpus


def test_every_source_has_a_reader_and_every_reader_a_source():
    assert set(BUILDERS) == set(DATA)
    for name, cls in DATA.items():
        assert cls().name == name


@pytest.mark.parametrize("name", sorted(set(DATA) - {"phantom", "mixture", "subsets"}))
def test_a_source_without_files_says_what_it_needs(name):
    with pytest.raises(ConfigError, match=rf"data.root is not set: data={name} needs .*; add data.root=PATH"):
        parse(ExperimentConfig(), [f"data={name}"])


def test_options_of_a_wrong_type_are_refused():
    with pytest.raises(ConfigError, match=r"data\.rule"):
        data_config("vqa_rad", rule="strict")


@pytest.fixture
def files(tmp_path):
    """24 images, a table of free-text questions about them, and conversations."""
    words = ("left lung", "no", "a small mass in the upper lobe", "yes")
    rows, talks = [], []
    for i in range(24):
        Image.new("RGB", (40, 40), (9 * i, 0, 0)).save(tmp_path / f"{i}.png")
        rows += [{"image": f"{i}.png", "question": f"What is {q}?", "answer": words[(i + q) % 4]} for q in range(3)]
        turns = [{"from": who, "value": f"{who} says {i} {turn}."} for turn in range(2) for who in ("human", "gpt")]
        talks.append({"id": str(i), "image": f"{i}.png", "conversations": turns, "conversations_long": turns})
    (tmp_path / "table.json").write_text(json.dumps(rows))
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    return tmp_path


def test_open_answers_fit_into_prompts_and_questions(files):
    corpus = build_corpus(data_config("manifest", root=str(files / "table.json")))
    assert {record.answer_type for record in corpus.splits["test"]} == {"open", "closed"}
    assert all(record.answer in record.extended for record in corpus.splits["train"])


@pytest.mark.slow
@pytest.mark.parametrize("source", ["manifest", "conversations", "mixture"])
def test_a_source_runs_from_the_command_line_to_a_report(files, source):
    from medgraph.training.run import run

    table, talks = (str(files / name) for name in ("table.json", "talks.json"))
    sources = f"[{{name: conversations, root: {talks}, count: 12, splits: train}}, "
    sources += f"{{name: manifest, root: {table}, splits: [task, val, test]}}]"
    options = {"manifest": [f"data.root={table}"], "conversations": [f"data.root={talks}", "data.test_share=0.2"],
               "mixture": [f"data.sources={sources}"]}  # fmt: skip
    steps = [f"stage{i}.{option}" for i in (1, 2, 3) for option in ("steps=2", "batch_size=4")]
    arguments = [f"data={source}", *options[source], *steps, "alignment=infonce", "stage2.alpha=1",
                 "stage2.extended_lm=true", "model.weights=random", "trainer.accelerator=cpu",
                 f"run.root={files}/runs"]  # fmt: skip
    outcome = run(parse(ExperimentConfig(), arguments))
    assert outcome.results.splits == ["test"]
    assert (outcome.folder / "report.html").is_file()
