from __future__ import annotations

import json

import pytest

from medgraph.config import ConfigError
from medgraph.data.records import MATTriplet
from medgraph.prompting.classes import WORDINGS, describe_by_template, read_descriptions

NAMES = ["Cyst", "Stone"]


def test_every_class_is_described_in_different_words_that_name_it():
    made = describe_by_template(NAMES, 2 * [MATTriplet("CT", "Kidney", "diseases")], WORDINGS)
    for name, texts in zip(NAMES, made.descriptions, strict=True):
        assert len(set(texts)) == WORDINGS
        assert all(name in text and "kidney" in text for text in texts)
    assert made.take([1]).names == ("Stone",)
    with pytest.raises(ConfigError, match="1 to 6"):
        describe_by_template(NAMES, 2 * [MATTriplet("CT", "Kidney", "diseases")], 7)


def test_descriptions_are_read_for_the_classes_that_are_asked_for(tmp_path):
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({"Stone": ["hard", "bright"], "Cyst": ["round", "dark"], "Mass": ["solid"]}))
    assert read_descriptions(file, NAMES).descriptions == (("round", "dark"), ("hard", "bright"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"Cyst": ["round"]}', "class 'Stone' has None"),
        ('{"Cyst": ["round"], "Stone": []}', r"class 'Stone' has \[\]"),
        ('{"Cyst": ["round"], "Stone": ["hard", "bright"]}', "different numbers"),
        ("[1]", "class 'Cyst'"),
        ("{", "expected a JSON object"),
    ],
)
def test_a_wrong_file_is_named_with_the_class(tmp_path, content, message):
    file = tmp_path / "classes.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        read_descriptions(file, NAMES)
    assert str(file) in str(error.value)
