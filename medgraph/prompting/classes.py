"""The words for classes: names, templates, and descriptions from a file or from the writer of extended answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraph.config import ConfigError
from medgraph.data.extend import extend_answer
from medgraph.data.records import MATTriplet

TEMPLATES = ("a medical image of {}.", "an image that shows {}.", "a scan with {}.", "this image shows {}.")
"""Prompts of zero-shot classification; a class is the mean of all of them."""

WORDINGS = 6
"""Ways in which the writer of extended answers says the same."""


@dataclass(frozen=True, slots=True)
class ClassTexts:
    """C classes in words.

    Attributes:
        names: one a class.
        descriptions: sentences about each class, the same number for all and at least one.
    """

    names: tuple[str, ...]
    descriptions: tuple[tuple[str, ...], ...]

    def take(self, index: Sequence[int]) -> ClassTexts:
        """Some of the classes."""
        return ClassTexts(tuple(self.names[i] for i in index), tuple(self.descriptions[i] for i in index))


def describe_by_template(names: Sequence[str], triplets: Sequence[MATTriplet], num: int) -> ClassTexts:
    """Describe classes by modality, area and task, in the wordings of extended answers.

    Args:
        names: C classes.
        triplets: what images of each class are.
        num: descriptions a class, 1 to `WORDINGS`.

    Raises:
        ConfigError: for another number.

    Example:
        >>> describe_by_template(["Cyst"], [MATTriplet("CT", "Kidney", "diseases")], 1).descriptions
        (('In this CT scan of the kidney, disease classification leads to the reading Cyst.',),)
    """
    if not 1 <= num <= WORDINGS:
        raise ConfigError(f"{num} descriptions a class: the templates have 1 to {WORDINGS}; others come from a file")
    return ClassTexts(tuple(names), tuple(_wordings(*pair)[:num] for pair in zip(names, triplets, strict=True)))


def _wordings(name: str, triplet: MATTriplet) -> tuple[str, ...]:
    texts: dict[str, None] = {}
    key = 0
    while len(texts) < WORDINGS:
        texts[extend_answer(name, triplet, "context", str(key))] = None
        key += 1
    return tuple(texts)


def read_descriptions(file: Path, names: Sequence[str]) -> ClassTexts:
    """Read a JSON object of class name to a list of sentences, such as a language model has written.

    Args:
        file: where it is; classes that are not asked for are ignored.
        names: C classes.

    Raises:
        ConfigError: if it is no such object, a class is missing, or classes have different numbers of sentences.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}; expected a JSON object of class name to a list of sentences") from error
    for name in names:
        sentences = content.get(name) if isinstance(content, dict) else None
        if not isinstance(sentences, list) or not sentences or not all(isinstance(s, str) and s for s in sentences):
            raise ConfigError(f"{file}: class {name!r} has {sentences!r}; expected a list of sentences")
    lengths = {name: len(content[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"{file}: classes have different numbers of sentences, {lengths}; give all of them as many")
    return ClassTexts(tuple(names), tuple(tuple(content[name]) for name in names))
