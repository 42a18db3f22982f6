from __future__ import annotations

import runpy
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from medgraph.config import ConfigError, PhantomConfig
from medgraph.data.phantom.corpus import build_phantom
from medgraph.prompting import protocol as module
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.draw import Task, TaskImage, draw
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.method import Budget, ImageSet, ZeroShot
from medgraph.prompting.options import FewShotConfig
from medgraph.prompting.protocol import METHODS, Protocol, predict, restrict
from medgraph.prompting.study import run_study
from medgraph.prompting.tiny_clip import captions_of, pretrain, tiny_encoder, train_clip

FILE = Path(__file__).parents[2] / "experiments" / "dude.py"
NAMES = ("cyst", "mass", "normal")


@pytest.fixture(scope="module")
def protocol(tiny_model, tokenizer):
    """Three classes of random features, a centre for each."""
    encoder = DualEncoder(tiny_model("clip", tokenizer), tokenizer)
    generator = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(3, 12, generator=generator), dim=-1)
    images, sets = {}, {}
    for part, count in (("shots", 30), ("val", 15), ("test", 45)):
        labels = torch.arange(count) % 3
        images[part] = [TaskImage(f"{part}{i}", label, f"{part}{i}") for i, label in enumerate(labels.tolist())]
        tokens = F.normalize(
            centres[labels, None, None] + 0.2 * torch.randn(count, 2, 4, 12, generator=generator), dim=-1
        )
        sets[part] = ImageSet(tokens.mean(2), tokens, labels, [image.group for image in images[part]])
    texts = ClassTexts(NAMES, tuple((f"the lung shows {name}.",) for name in NAMES))
    return Protocol(Task(NAMES, (), images), encoder, texts, sets, Budget(2, 0.01, 4), 4)


class Recorder(ZeroShot):
    """Keeps what it is fitted to."""

    seen: ClassVar[list[tuple[ImageSet, ImageSet, Budget, torch.Tensor]]] = []

    def fit(self, train, validation, budget, generator):
        self.seen.append((train, validation, budget, generator.get_state()))


def test_all_methods_get_the_same_images_budget_and_randomness(protocol, monkeypatch):
    monkeypatch.setattr(Recorder, "seen", [])
    monkeypatch.setitem(METHODS, "one", lambda encoder, classes, _: Recorder(encoder, classes))
    monkeypatch.setitem(METHODS, "two", lambda encoder, classes, _: Recorder(encoder, classes))
    for name in ("one", "two"):
        protocol.all_classes(name, 8, 3)
    (train, validation, budget, state), (other, other_validation, other_budget, other_state) = Recorder.seen
    wanted = [protocol.task.images["shots"][i].group for i in draw(protocol.task, "shots", 8, 3)]
    assert list(train.groups) == list(other.groups) == wanted
    assert list(validation.groups) == list(other_validation.groups)
    assert len(validation) == 3 * 4
    assert budget is other_budget is protocol.budget
    assert torch.equal(state, other_state)
    protocol.all_classes("one", 2, 3)
    assert len(Recorder.seen[-1][1]) == 3 * 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_classifies_all_and_new_classes_where_it_can(protocol, method):
    predicted = protocol.all_classes(method, 4, 0)
    assert len(predicted["all"]) == 45
    assert protocol.all_classes(method, 4, 0) == predicted
    sides = protocol.base_to_new(method, 4, 0)
    if method in ("linear_probe", "tip_adapter", "tip_adapter_f"):
        assert sides == {}
    else:
        assert {side: len(labels) for side, labels in sides.items()} == {"base": 30, "new": 15}
        assert set(sides["new"]) == {0}


def test_new_classes_are_counted_from_zero(protocol):
    new = restrict(protocol.sets["test"], range(2, 3))
    assert new.labels.tolist() == [0] * 15
    assert list(new.groups) == [f"test{i}" for i in range(2, 45, 3)]


def test_prediction_does_not_depend_on_the_batch(protocol, monkeypatch):
    method = METHODS["dude"](protocol.encoder, protocol.texts, torch.Generator().manual_seed(0))
    whole = predict(method, protocol.sets["test"])
    monkeypatch.setattr(module, "BATCH", 7)
    assert predict(method, protocol.sets["test"]) == whole


def test_a_tiny_clip_learns_which_text_belongs_to_which_image():
    images = torch.zeros(16, 3, 64, 64, dtype=torch.uint8)
    images[:8, :, :32] = 255
    captions = [["a bright upper half"]] * 8 + [["all is dark here"]] * 8
    torch.manual_seed(0)
    encoder = tiny_encoder(["a bright upper half", "all is dark here"])
    train_clip(encoder, images, captions, 12, torch.Generator().manual_seed(0))
    texts = encoder.encode_texts(["a bright upper half", "all is dark here"])
    logits = encoder.encode_images(images[[0, 8]]).pooled @ texts.mT
    assert logits.argmax(1).tolist() == [0, 1]
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_captions_say_class_modality_and_area():
    corpus = build_phantom(PhantomConfig(num_train=1))
    records = corpus.splits["train"]
    captions = captions_of(records)
    assert [record.extended for record in records] == captions[: len(records)]
    first = records[0]
    assert any(f"{first.label} in {first.triplet.modality} of the {first.triplet.area}" in text for text in captions)


def test_a_tiny_clip_needs_classes_that_it_has_not_seen(tmp_path):
    corpus = build_phantom(PhantomConfig(num_train=1, num_ood=0))
    with pytest.raises(ConfigError, match=r"give encoder=NAME, or data\.ood_subsets"):
        pretrain(corpus, ClassTexts(("a",), (("a",),)), 1, 0, tmp_path / "encoder")


def test_arguments_are_checked_before_anything_runs():
    study = runpy.run_path(str(FILE))["plan"]()
    assert isinstance(study.base, FewShotConfig)
    with pytest.raises(ConfigError, match="arms=nothing: no such method; known: zero_shot"):
        run_study(study, ["arms=nothing"])
    with pytest.raises(ConfigError, match=r"shots.*expected numbers of images from 1, ascending"):
        run_study(study, ["shots=[4,2]"])
    with pytest.raises(ConfigError, match="descriptions=nowhere: no such file"):
        run_study(study, ["descriptions=nowhere"])


@pytest.mark.slow
def test_sixteen_shots_teach_dude_what_words_do_not_tell_and_nothing_runs_twice(tmp_path, capsys):
    main = runpy.run_path(str(FILE))["main"]
    arguments = [
        "arms=zero_shot", "seeds=2", "shots=[16]", "pretrain_steps=100", "budget.steps=40", "views=1",
        "data.num_train=400", "data.num_ood=800", "data.num_findings=4", f"run.root={tmp_path}",
        "trainer.accelerator=cpu",
    ]  # fmt: skip
    results = main(arguments)
    (effect,) = results.compare(results.mean_accuracy).values()
    assert effect.control == "zero_shot"
    assert effect.low > 0
    assert "seed 1: 4 fits" in capsys.readouterr().out
    (page,) = tmp_path.glob("dude/*/report.html")
    assert "From base to new classes" in page.read_text()
    (page.parent / "base_to_new.csv").unlink()
    assert main(arguments) == results
    assert (page.parent / "base_to_new.csv").exists()
    assert "fits in" not in capsys.readouterr().out
