"""The words for modalities, areas and tasks: open lists with aliases, so that "Ultrasound" and "US" are one element.

The built-in words are those of Med-MAT (arXiv:2412.20070, appendix B.1 and Table 17). Register more with
`Vocabulary.register`; nothing in the library depends on a particular word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from medgraph.data.records import ELEMENTS, MATTriplet

TASK_PARENT = {"covid": "state", "cancer": "state"}
"""COVID and cancer diagnosis are also state recognition (Med-MAT, appendix B.1)."""


class Vocabulary:
    """An open list of words with aliases and descriptions.

    Look-ups ignore case, blanks, hyphens and underscores.

    Args:
        kind: what the words name; used in errors.
        words: word to its aliases, the first of which is its long name in running text.

    Example:
        >>> MODALITIES.canonical("x_ray"), MODALITIES.canonical("ultrasound"), MODALITIES.describe("US")
        ('X-ray', 'US', 'ultrasound image')
    """

    def __init__(self, kind: str, words: Mapping[str, Iterable[str]]) -> None:
        self.kind = kind
        self._words: dict[str, str] = {}
        self._long: dict[str, str] = {}
        for word, aliases in words.items():
            self.register(word, *aliases)

    def register(self, word: str, *aliases: str) -> None:
        """Add a word, or aliases of a known word.

        Args:
            word: the spelling that triplets will hold.
            aliases: other spellings; the first is the long name in running text.

        Raises:
            ValueError: if a spelling already means another word.
        """
        for spelling in (word, *aliases):
            known = self._words.setdefault(_key(spelling), word)
            if known != word:
                raise ValueError(f"{self.kind} {spelling!r} already means {known!r}; choose another alias for {word!r}")
        self._long.setdefault(word, aliases[0] if aliases else word.lower())

    def canonical(self, text: str) -> str:
        """Return the word that a spelling means.

        Raises:
            ValueError: with near matches, if the spelling is unknown.
        """
        word = self._words.get(_key(text))
        if word is None:
            close = difflib.get_close_matches(_key(text), self._words, n=3, cutoff=0.6)
            known = sorted({self._words[key] for key in close}) or list(self._long)
            raise ValueError(f"unknown {self.kind} {text!r}; known: {', '.join(known)}; "
                             f"add it with {self.kind} vocabulary's register()")  # fmt: skip
        return word

    def adopt(self, text: str) -> str:
        """Return the word that a spelling means; an unknown spelling is a new word and means itself."""
        return self.canonical(text) if text in self else text.strip()

    def describe(self, word: str) -> str:
        """Long name of a word for running text; an unknown word is its own long name."""
        return self._long.get(word, word)

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._words

    def __iter__(self) -> Iterator[str]:
        return iter(self._long)


def _key(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text).lower()


MODALITIES = Vocabulary(
    "modality",
    {
        "Co": ("colposcopy image", "colposcopy"),
        "CT": ("CT scan", "computed tomography"),
        "Der": ("dermoscopy image", "dermoscopy", "dermatoscopy"),
        "DP": ("digital photograph", "digital photography", "photograph"),
        "End": ("endoscopy image", "endoscopy"),
        "FP": ("fundus photograph", "fundus photography"),
        "Mic": ("microscopy image", "microscopy", "histopathology"),
        "MRI": ("MRI slice", "MR", "magnetic resonance imaging"),
        "OCT": ("OCT scan", "optical coherence tomography"),
        "US": ("ultrasound image", "ultrasound"),
        "X-ray": ("X-ray image", "radiograph", "plain radiography"),
    },
)

AREAS = Vocabulary(
    "area",
    {
        "Cervix": (), "Kidney": (), "Lung": ("lung", "lungs"), "Brain": ("brain", "head"), "Skin": (),
        "Mouth": ("mouth", "teeth", "oral cavity"), "Intestine": ("intestine", "bowel", "colon"), "Bladder": (),
        "Fundus": ("ocular fundus",), "Cell": ("cell", "cells"), "Retina": ("retina", "retine"), "Breast": (),
        "Bones": ("bone",), "Chest": ("chest", "thorax"), "Thyroid": (), "Liver": (),
    },
)  # fmt: skip

TASKS = Vocabulary(
    "task",
    {
        "quality": ("image quality", "quality identification", "quality evaluation"),
        "covid": ("COVID-19 diagnosis", "COVID-19"),
        "cancer": ("cancer diagnosis",),
        "state": ("state recognition",),
        "level": ("severity level", "level identification"),
        "diseases": ("disease classification", "disease"),
        "recognition": ("cell or structure recognition", "cell identification"),
        "lesion_det": ("lesion localisation", "lesion detection"),
        "polyp_det": ("polyp localisation", "polyp detection"),
        "instrument_det": ("instrument localisation", "instrument detection"),
        "disease_det": ("disease localisation", "disease detection"),
        "organ_det": ("organ localisation", "organ detection"),
        "structure_seg": ("structure segmentation",),
    },
)

VOCABULARIES = dict(zip(ELEMENTS, (MODALITIES, AREAS, TASKS), strict=True))

_TASK_WORDS = {
    "quality": "quality", "covid": "covid", "cancer": "cancer", "tumor": "cancer", "melanoma": "cancer",
    "level": "level", "degree": "level", "grade": "level", "severity": "level", "disease": "diseases",
    "diseases": "diseases", "recognition": "recognition", "type": "recognition", "identification": "recognition",
    "state": "state", "condition": "state", "fractured": "state", "hemorrhage": "state",
}  # fmt: skip


def task_category(name: str) -> str:
    """Derive the task category from the name of a task.

    A category word itself (`level`, `recognition` …) stands for itself; otherwise the telling word that comes first in
    `_TASK_WORDS` decides, so "Prostate Cancer Degree" would be read as cancer: write the category itself where the
    name misleads.

    Raises:
        ValueError: if no word of the name tells.

    Example:
        >>> task_category("Tissue Density Level"), task_category("View Position Recognition")
        ('level', 'recognition')
    """
    if name in TASKS:
        return TASKS.canonical(name)
    words = set(re.findall(r"[a-z]+", name.lower()))
    for word, category in _TASK_WORDS.items():
        if word in words:
            return category
    raise ValueError(f"task {name!r} names no known category; write one of {', '.join(TASKS)} instead, "
                     "or register a new word in medgraph.data.vocabulary.TASKS")  # fmt: skip


def parse_triplet(text: str) -> MATTriplet:
    """Read a triplet in any known spelling.

    Raises:
        ValueError: naming the element that is unknown, with near matches.

    Example:
        >>> str(parse_triplet("ct, lungs, Cancer diagnosis"))
        'CT/Lung/cancer'
    """
    raw = MATTriplet.parse(text)
    return MATTriplet(*(VOCABULARIES[name].canonical(getattr(raw, name)) for name in ELEMENTS))
