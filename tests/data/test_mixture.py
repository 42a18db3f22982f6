import json

import numpy as np
import pytest
from PIL import Image

from medgraph.config import ConfigError, MixtureConfig
from medgraph.data import build_corpus
from medgraph.data.images import image_root

PHANTOM = {"name": "phantom", "num_train": 30, "num_task": 4, "num_val": 4, "num_test": 4, "num_ood": 4}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of 40 conversations, and a table of 20 questions with a test split; each with images of its own."""
    root = tmp_path_factory.mktemp("sources")
    for folder, count in (("instruct/images", 40), ("exam", 20)):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((9, 9, 3), i, np.uint8)).save(root / folder / f"{i}.png")
    turns = [{"from": who, "value": f"{who} {i}"} for i in range(2) for who in ("human", "gpt")]
    talks = [{"id": str(i), "image": f"{i}.png", "conversations": turns} for i in range(40)]
    (root / "instruct" / "talks.json").write_text(json.dumps(talks))
    rows = [{"image": f"{i}.png", "question": "Is it?", "answer": "yes", "split": ("train", "test")[i % 2]}
            for i in range(20)]  # fmt: skip
    (root / "exam" / "table.json").write_text(json.dumps(rows))
    return root


def mixture(files, count=20, fraction=1.0, **exam):
    talks = {"name": "conversations", "root": str(files / "instruct" / "talks.json"), "splits": "train"}
    table = {"name": "manifest", "root": str(files / "exam" / "table.json"), "splits": ["task", "val", "test"], **exam}
    return MixtureConfig(sources=[{**talks, "count": count}, table], fraction=fraction)


def train_images(corpus):
    return {record.image_id for record in corpus.splits["train"]}


def test_the_papers_recipe_instructs_on_one_source_and_examines_on_another(files):
    corpus = build_corpus(mixture(files))
    assert {record.subset for record in corpus.splits["train"]} == {"instruct"}
    assert {record.subset for name in ("task", "val", "test") for record in corpus.splits[name]} == {"table"}
    assert corpus.ordered == {"instruct"}
    assert image_root(corpus.load_image) == files
    assert corpus.load_image("exam/7.png", 4)[0, 0, 0] == corpus.load_image("instruct/images/7.png", 4)[0, 0, 0] == 7
    assert corpus.notes["data.sources[0] (conversations): training images"] == 20


def test_counts_are_exact_nested_and_part_of_the_fingerprint(files):
    small, large, same = (build_corpus(mixture(files, count)) for count in (10, 20, 20))
    assert (len(train_images(small)), len(train_images(large))) == (10, 20)
    assert train_images(small) < train_images(large)
    assert small.fingerprint() != large.fingerprint() == same.fingerprint()
    tenth = build_corpus(mixture(files, 20, fraction=0.1))
    assert len(train_images(tenth)) == 2
    assert train_images(tenth) < train_images(small)
    assert tenth.splits["task"] == large.splits["task"]


def test_generated_and_real_images_mix(files):
    phantom = {**PHANTOM, "count": 5}
    corpus = build_corpus(MixtureConfig(sources=[phantom, mixture(files).sources[0]], seed=3))
    assert len(train_images(corpus)) == 25
    assert image_root(corpus.load_image) is None
    for record in (corpus.splits["train"][0], corpus.splits["train"][-1]):
        assert corpus.load_image(record.image, 32).shape == (32, 32, 3)
    assert "phantom-3-" in corpus.splits["test"][0].id


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "data.sources is empty"),
        ([{**PHANTOM, "count": 31}], r"data.sources\[0\] \(phantom\): 31 training images wanted, 30 there"),
        ([PHANTOM, PHANTOM], r"data.sources\[1\] \(phantom\): record phantom-0-\d+-0 is in data.sources\[0\]"),
        ([{**PHANTOM, "splits": "test"}], "none contributes to train"),
        ([{**PHANTOM, "splits": ["tets"]}], "unknown split; did you mean 'test'"),
        ([{**PHANTOM, "count": 0}], "count=0: expected at least 1"),
        ([{**PHANTOM, "fraction": 0.5}], "no fraction"),
        ([{**PHANTOM, "cache": "auto"}], "no fraction, augment or cache"),
        ([{**PHANTOM, "num_trian": 3}], r"num_trian=3: unknown key; did you mean 'num_train'"),
        ([{"name": "vqa_rad"}], r"data.sources\[0\].root is not set: data=vqa_rad needs the folder"),
        ([{"name": "phantoms"}], "data=phantoms: unknown data source"),
    ],
)
def test_mistakes_name_the_source(sources, message):
    with pytest.raises(ConfigError, match=message):
        build_corpus(MixtureConfig(sources=sources))


def test_sources_that_disagree_about_turns_are_refused(files):
    config = mixture(files, turns=3)
    with pytest.raises(ConfigError, match="turns=3, 8; set the same number"):
        build_corpus(config)
