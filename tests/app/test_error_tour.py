"""The mistakes that people make most, and what they read then.

Every message says what is wrong and where, what was expected, and the way out; it is one line, and the exit code is 2.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pytest

from lightning_app.launch import load_config

STUDY = """
from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, model_config
from medgraph.training.launch import launch

def config():
    none = StageConfig(steps=0)
    return ExperimentConfig(
        name="study", data=PhantomConfig(num_train=8, num_task=4, num_val=2, num_test=2, num_ood=2),
        model=model_config("tiny", weights="random"), stage1=none, stage3=none,
        stage2=StageConfig(steps=2, batch_size=4),
    )

if __name__ == "__main__":
    launch(config)
"""
IMAGES = 6


def rows(**change: object) -> list[dict[str, object]]:
    """Questions about the images in ``img/``; the third is changed."""
    table = [{"id": i, "image": f"{i}.png", "question": "Is it?", "answer": "yes"} for i in range(IMAGES)]
    table[2] |= change
    return table


def answers(*ids: int) -> list[dict[str, object]]:
    return [{"question_id": number, "text": "yes"} for number in ids]


TRUTH = [
    {"id": i, "image": f"{i}.png", "answer_type": "CLOSED", "conversations": [{"value": "?"}, {"value": "yes"}]}
    for i in range(3)
]
TALK = [{"id": 1, "image": "1.png", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}]


class Mistake(NamedTuple):
    """What a person does, and what the message says.

    Attributes:
        did: in words.
        command: behind ``medgraph``, in a folder with ``study.py`` and ``img/0.png`` to ``5.png``.
        says: parts of the message, in their order.
        files: further files there; lists become JSON, or JSON lines.
        lacks: a package that is not installed.
    """

    did: str
    command: str
    says: tuple[str, ...]
    files: Mapping[str, str | bytes | list[dict[str, object]]] = {}
    lacks: str = ""


COMMAND = [
    Mistake("misspells the file", "run stdy.py", ("stdy.py: no such file", "did you mean study.py?")),
    Mistake("misspells the command", "rnu study.py", ("No such command 'rnu'", "Did you mean 'run'?")),
    Mistake("runs a file that is no experiment", "config other.py",
            ("other.py is not an experiment", "no function config()"), {"other.py": "x = 1\n"}),
    Mistake("misspells a key", "run study.py sed=3", ("sed=3: unknown key", "did you mean 'seed'?")),
    Mistake("sets a key of another head", "run study.py alignment.k=3",
            ("alignment.k=3: this key belongs to alignment=", "exgra", "add one of them")),
    Mistake("forgets the equals sign", "run study.py seed 3", ("'seed': expected key=value, e.g. seed=1",)),
    Mistake("gives a word for a number", "run study.py seed=x", ("seed=x: expected an integer",)),
    Mistake("gives a number out of range", "run study.py data.fraction=10",
            ("data.fraction=10.0: expected a share in (0, 1]",)),
    Mistake("chooses what there is not", "run study.py trainer.precision=fp16",
            ("trainer.precision=fp16: expected auto or 32-true",)),
    Mistake("names a configuration file that is not there", "run study.py config=my.yaml",
            ("config=my.yaml: no such file",)),
    Mistake("forgets a bracket in YAML", "run study.py config=my.yaml", ("config=my.yaml, line 2: not valid YAML",),
            {"my.yaml": "seed: [1\n"}),
    Mistake("sets steps and epochs", "run study.py stage2.steps=2 stage2.epochs=1",
            ("stage2.steps=2 and stage2.epochs=1.0: set one of them",)),
]  # fmt: skip
MODEL = [
    Mistake("misspells a head", "run study.py alignment=exgraa stage2.alpha=1",
            ("alignment=exgraa: no alignment head", "did you mean 'exgra'?")),
    Mistake("names a head that cannot be imported", "run study.py alignment=mine.Head stage2.alpha=1",
            ("alignment=mine.Head: cannot import", "No module named 'mine'")),
    Mistake("forgets the weight of a head", "run study.py alignment=exgra",
            ("alignment=exgra has no effect while every alpha is 0", "add stage2.alpha=1")),
    Mistake("misspells a preset", "run study.py model=tinny", ("model=tinny: unknown preset", "did you mean 'tiny'?")),
    Mistake("misspells a tower", "run study.py model.vision=clip-vit-l-15",
            ("model.vision=clip-vit-l-15: unknown tower", "did you mean 'clip-vit-l-14'?", "or a folder")),
    Mistake("names a model of the hub without a network", "run study.py model.llm=nobody/nothing",
            ("model.llm=nobody/nothing: ", "connect to 'https://huggingface.co'", "give the folder of a download")),
    Mistake("names a folder without a model", "run study.py model.vlm=img",
            ("model.vlm=img: the folder has no config.json",)),
    Mistake("asks for adapters without peft", "run study.py model.lora.rank=4",
            ("model.lora.rank=4: needs peft; pip install 'medgraph[lora]'",), lacks="peft"),
    Mistake("asks for GPUs that are not there", "run study.py trainer.accelerator=gpu trainer.devices=64",
            ("trainer.accelerator=gpu trainer.devices=64: torch sees ", "GPUs here; lower trainer.devices")),
    Mistake("asks for float16 on a CPU", "run study.py trainer.accelerator=cpu trainer.precision=16-mixed",
            ("trainer.precision=16-mixed: float16 needs a GPU; use trainer.precision=auto",)),
    Mistake("starts from a run that is not there", "run study.py start=runs/nix",
            ("runs/nix is not the folder of a run: it does not exist", "expected runs/<experiment>/<name>")),
    Mistake("cuts every sample off", "run study.py model.max_length=20",
            ("record phantom-", "tokens with its image, model.max_length=20; raise it")),
    Mistake("asks for batches larger than the data", "run study.py stage2.batch_size=100",
            ("stage2.batch_size=100: 8 images do not fill one batch; lower it",)),
]  # fmt: skip
TABLE = "run study.py data=manifest data.images=img stage2.batch_size=2 data.root="
DATA = [
    Mistake("misspells the data", "run study.py data=phantm",
            ("data=phantm: unknown data source", "did you mean 'phantom'?")),
    Mistake("forgets where the data is", "run study.py data=slake",
            ("data.root is not set: data=slake needs the folder that holds train.json", "add data.root=PATH")),
    Mistake("names a folder that is not there", "run study.py data=medmat data.root=/nowhere",
            ("data.root=/nowhere: no such folder or file",)),
    Mistake("names another folder", "run study.py data=medmat data.root=img",
            ("img: found ['0.png'", "expected Aggregated_Subsets/Subset--NN-train.json", "set data.root to")),
    Mistake("lacks an image", TABLE + "t.jsonl",
            ("t.jsonl, record t/2, field 'image': found '9.png'", "expected an existing file below img",
             "restore the 1 missing images of 6"), {"t.jsonl": rows(image="9.png")}),
    Mistake("has an image that is cut off", "data check img",
            ("bad.png: found '40 bytes", "expected a complete image"),
            {"img/bad.png": b"\x89PNG\r\n\x1a\n" + b"0" * 32}),
    Mistake("has an empty file", TABLE + "t.jsonl",
            ("t.jsonl: found [], expected records in a .csv", "check data.root"), {"t.jsonl": ""}),
    Mistake("has a line of JSON that is cut off", TABLE + "t.jsonl",
            ("t.jsonl, line 1: found '{\"id\": 1,'", "expected one JSON object a line"), {"t.jsonl": '{"id": 1,\n'}),
    Mistake("has a JSON file that is cut off", "run study.py data=conversations data.root=t.json",
            ("t.json: found ", "column 10", "expected a complete JSON list in UTF-8"), {"t.json": '[{"id": 1'}),
    Mistake("saved a table in another encoding", TABLE + "t.csv",
            ("t.csv: found b'\\xf9', expected text in UTF-8", "iconv"),
            {"t.csv": "image,question,answer\n1.png,Où?,là\n".encode("latin-1")}),
    Mistake("has other names for columns", TABLE + "t.csv",
            ("t.csv, row 1: found ['answer', 'file', 'question']", "data.columns.image=NAME"),
            {"t.csv": "file,question,answer\n1.png,a,b\n"}),
    Mistake("has a sheet of Excel", TABLE + "t.xlsx", ("t.xlsx: found '.xlsx', expected one of .csv",), {"t.xlsx": ""}),
    Mistake("has a question without an answer: nothing would be supervised", TABLE + "t.jsonl",
            ("t.jsonl, row 3, field 'answer': found ''", "complete the record"), {"t.jsonl": rows(answer="")}),
    Mistake("writes the image token into a question", TABLE + "t.jsonl",
            ("record t/2: its text contains the special token '<image>'; remove it",),
            {"t.jsonl": rows(question="What is in <image>?")}),
    Mistake("numbers two records alike", TABLE + "t.jsonl",
            ("t.jsonl, record t/1, field 'id'", "expected ids that occur once"), {"t.jsonl": rows(id=1)}),
    Mistake("misspells a split", TABLE + "t.jsonl",
            ("row 3, field 'split': found 'tset', expected train, val or test",), {"t.jsonl": rows(split="tset")}),
    Mistake("has no training data", TABLE + "t.jsonl",
            ("stage2: the train split of data=manifest is empty", "stage2.steps=0"),
            {"t.jsonl": [{**row, "split": "test"} for row in rows()]}),
    Mistake("has one label only", "run study.py data=folder data.root=. data.triplet=CT/Lung/cancer",
            ("found ['img']", "expected at least two subfolders with images, one for each label")),
    Mistake("misspells a modality", "data show CTT/Lung/cancer", ("CTT", "known: ", "CT")),
    Mistake("wants more images than there are",
            "run study.py data=mixture 'data.sources=[{name: phantom, num_train: 9, count: 10}]'",
            ("data.sources[0] (phantom): 10 training images wanted, 9 there; lower its count",)),
    Mistake("reads NIfTI without nibabel", "data check img", ("expected nibabel", "pip install", "'medgraph[medical]'"),
            {"img/v.nii": b"0" * 400}, lacks="nibabel"),
]  # fmt: skip
RESULTS = [
    Mistake("scores a file that is not there", "score nix.jsonl", ("nix.jsonl: no such file or directory",)),
    Mistake("scores an empty file", "score a.jsonl", ("a.jsonl holds no answers",), {"a.jsonl": ""}),
    Mistake("scores answers without the truth", "score a.jsonl",
            ("a.jsonl holds answers without the truth", "--gt"), {"a.jsonl": answers(0, 1, 2)}),
    Mistake("lacks answers", "score a.jsonl --gt gt.json",
            ("a.jsonl: 1 questions of gt.json have no answer: 2", "--allow-missing"), {"a.jsonl": answers(0, 1)}),
    Mistake("answers a question twice", "score a.jsonl --gt gt.json",
            ("a.jsonl:4: question 1 is answered twice; keep one line",), {"a.jsonl": answers(0, 1, 2, 1)}),
    Mistake("answers other questions", "score a.jsonl --gt gt.json",
            ("a.jsonl: 1 ids are not in gt.json: 7", "--gt"), {"a.jsonl": answers(0, 1, 2, 7)}),
    Mistake("has answers in another encoding", "score a.jsonl --gt gt.json",
            ("a.jsonl:1: byte 30 is not UTF-8",), {"a.jsonl": '{"question_id": 0, "text": "là"}\n'.encode("latin-1")}),
    Mistake("misspells a protocol", "score a.jsonl --gt gt.json --protocol exgr",
            ("unknown protocol 'exgr'; known: strict",), {"a.jsonl": answers(0, 1, 2)}),
    Mistake("reports a folder that is no finished run", "report img",
            ("img is not the folder of a finished run: it has no results.json",)),
    Mistake("asks a folder that is no run", "ask img img/0.png what?",
            ("img is not the folder of a run: it has no config.yaml", "expected runs/<experiment>/<name>")),
    Mistake("runs a study of combinations without a plan", "cg run img",
            ("img has no plan.json", "medgraph cg plan img")),
    Mistake("probes a tower that is not there", "probe nix", ("model.vision=nix: unknown tower",)),
    Mistake("extends by an endpoint without openai", "extend t.json --out o.json --with api --model m",
            ("needs the openai package: pip install 'medgraph[llm]'",), {"t.json": TALK}, lacks="openai"),
    Mistake("extends by an endpoint without a key", "extend t.json --out o.json --with api --model m",
            ("OPENAI_API_KEY",), {"t.json": TALK}),
]  # fmt: skip
TOUR = [*COMMAND, *MODEL, *DATA, *RESULTS]


def put(file: Path, content: str | bytes | list[dict[str, object]]) -> None:
    if isinstance(content, list):
        lines = [json.dumps(row) for row in content]
        content = "".join(f"{line}\n" for line in lines) if file.suffix == ".jsonl" else f"[{','.join(lines)}]"
    file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder: a study, some images, the truth of three questions."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "img").mkdir()
    for number in range(IMAGES):
        PIL.Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(tmp_path / "img" / f"{number}.png")
    put(tmp_path / "study.py", STUDY)
    put(tmp_path / "gt.json", TRUTH)
    return tmp_path


@pytest.mark.parametrize("mistake", TOUR, ids=[mistake.did for mistake in TOUR])
def test_the_message_says_what_is_wrong_and_what_to_do(mistake, folder, medgraph, monkeypatch):
    for name, content in mistake.files.items():
        put(folder / name, content)
    if mistake.lacks:
        monkeypatch.setitem(sys.modules, mistake.lacks, None)
    code, out, err = medgraph(*shlex.split(mistake.command))
    assert code == (1 if mistake.command.startswith("data check") else 2)  # what a check finds is its result
    said = " ".join((err or out.replace("│", " ")).split())
    assert "Traceback" not in said
    place = 0
    for part in mistake.says:
        assert part in said[place:], said
        place = said.index(part, place)
    assert len(err.splitlines()) <= 1 or err.startswith("Usage: ")


def test_the_tour_has_no_gaps():
    names = [mistake.did for mistake in TOUR]
    assert len(set(names)) == len(names) > 40


# what takes more than a file


@pytest.fixture
def started(folder):
    """A run that was started in ``runs/study/r``, as far as another one reads it; returns its command."""
    from medgraph.training.prepare import complete
    from medgraph.training.rundir import write_identity

    command = ("run", "study.py", "run.name=r")
    place = folder / "runs" / "study" / "r"
    place.mkdir(parents=True)
    write_identity(complete(load_config("study.py", command[2:])), place)
    return command


def test_two_runs_in_one_folder(started, medgraph, monkeypatch):
    def taken(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "lockf", taken)
    code, _, err = medgraph(*started)
    assert (code, err) == (
        2, "study.py: error: runs/study/r is in use by another process; wait for it or choose run.name=…\n"
    )  # fmt: skip


def test_continuing_with_another_configuration(started, medgraph):
    code, _, err = medgraph(*started, "stage2.lr=1")
    assert code == 2
    assert "runs/study/r was started differently: stage2.lr: 0.0015 -> 1.0. Restore that, choose another" in err


@pytest.mark.usefixtures("started")
def test_starting_from_a_run_of_another_model(medgraph):
    code, _, err = medgraph("run", "study.py", "start=runs/study/r", "model=small")
    assert code == 2
    assert "start=runs/study/r: is a run of another model, different in model.vision=small (there tiny)" in err


def test_asking_a_run_whose_tokenizer_was_replaced(started, medgraph, folder, vlm):
    from safetensors.torch import save_file

    from medgraph.models.medvlm import PARTS
    from medgraph.models.tokenizer import train_tokenizer
    from medgraph.training.weights import trained_state

    place = folder / "runs" / "study" / "r"
    (place / "stage2").mkdir()
    save_file(trained_state(vlm, PARTS), place / "stage2" / "weights.safetensors")
    train_tokenizer(["other words"]).save_pretrained(place / "tokenizer")
    code, _, err = medgraph("ask", "runs/study/r", "img/0.png", "what?")
    assert code == 2
    assert "stage2/weights.safetensors: llm." in err
    assert "it was written with other model.* options" in err


def test_a_full_disk(folder, medgraph, monkeypatch):
    def full(_: Path, file: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr(os, "replace", full)
    code, _, err = medgraph("run", "study.py", "run.name=r")
    assert code == 1
    assert err.startswith("study.py: error: no space left on the disk to write runs/study/r/")
    assert err.endswith("; make room and run the same command again\n")


@pytest.mark.slow
def test_ctrl_c_in_a_run_with_batches_of_one(folder, medgraph, monkeypatch):
    from medgraph.report.run import write_report
    from medgraph.training import run

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_stages", interrupt)
    aligned = ("alignment=exgra", "stage2.alpha=1", "stage2.batch_size=1")
    code, out, err = medgraph("run", "study.py", "run.name=r", *aligned)
    assert code == 130
    assert err.startswith("study.py: interrupted; ")
    remark = "stage2.batch_size=1: heads compare the samples of a batch, and there is one"
    assert remark in out
    assert remark in write_report(folder / "runs" / "study" / "r").read_text()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "remarks"),
    [
        (["alignment.k=3"], []),
        (
            ["alignment.k=4"],
            ["alignment.k=4: in stage2 graphs have 4 samples and so 3 neighbours; raise stage2.batch_size"],
        ),
        (["alignment.k=4", "stage2.queue=4"], []),
        (["alignment.k=2", "alignment.graph_size=2"], ["alignment.k=2: in stage2 graphs have 2 samples"]),
    ],
)
def test_more_neighbours_than_samples(arguments, remarks):
    from medgraph.training.prepare import build_head, complete, small_graphs

    config = complete(load_config("study.py", ["alignment=exgra", "stage2.alpha=1", *arguments]))
    said = small_graphs(config, build_head(config.alignment), ranks=1)
    assert len(said) == len(remarks)
    assert all(remark.startswith(start) for remark, start in zip(said, remarks, strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_a_loss_that_is_not_finite(medgraph):
    code, _, err = medgraph("run", "study.py", "stage2.lr=1e30", "trainer.accelerator=cpu")
    assert code == 1
    assert re.search(r"step 1: train/lm is not finite for records phantom-0-\d", err)
    assert "lower the learning rate" in err


@pytest.mark.usefixtures("folder")
def test_a_patient_in_two_splits(medgraph, folder):
    questions = [
        {**row, "image": f"img/{row['image']}", "group": "p", "split": "test" if i > 2 else "train"}
        for i, row in enumerate(rows())
    ]
    put(folder / "t.jsonl", questions)
    code, out, _ = medgraph("data", "audit", "t.jsonl")
    assert code == 1
    assert "LEAK: 3 of 3 test images are also in train, task (same group)" in " ".join(out.split())
