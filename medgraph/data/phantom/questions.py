"""Questions about a phantom, their short answers, and the two kinds of extended answer.

Questions name no factor of the image (except ``presence``, which names a finding that is there half of the time), so
the text alone does not give the answer away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from medgraph.data.phantom.factors import Factors, Stream, generator

ALWAYS = ("modality", "area", "finding", "presence")
"""Question types for every image."""
ABNORMAL = ("side", "level", "size", "severity")
"""Question types that need a finding to ask about."""

ASK = {
    "modality": ("which imaging modality is this?", "how was this image acquired?", "what kind of image is this?"),
    "area": ("which body part is shown?", "what anatomical area is this?", "which organ does the image show?"),
    "finding": ("what is the main finding?", "which abnormality is visible, if any?", "what is the diagnosis?"),
    "side": (
        "on which side of the image is the finding?",
        "is the finding on the left or right?",
        "which side is affected?",
    ),
    "level": (
        "is the finding in the upper or lower half?",
        "at which level is the finding?",
        "which half of the image is affected?",
    ),
    "size": ("how large is the finding?", "is the finding small or large?", "what is the size of the finding?"),
    "severity": ("how severe is the finding?", "what is the severity?", "is the finding mild, moderate or severe?"),
}
ASK_PRESENCE = ("is there {} in this image?", "does this image show {}?", "can {} be seen?")
ASK_NORMAL = ("is this image normal?", "is this a normal study?", "is this study without any abnormality?")

TECHNIQUE = {
    "x-ray": "plain radiography",
    "ct": "computed tomography",
    "mri": "magnetic resonance imaging",
    "ultrasound": "an ultrasound probe",
    "fundus": "a retinal camera",
    "dermoscopy": "a dermatoscope",
    "histology": "a microscope after staining",
}
BODY = {
    "lung": "the lungs",
    "brain": "the brain",
    "kidney": "the kidneys",
    "heart": "the heart",
    "breast": "the breast",
    "eye": "the eye",
    "forearm": "the forearm",
}
LOOK = {
    "normal": "no abnormality",
    "mass": "a solid irregular lesion",
    "cyst": "a round fluid-filled lesion",
    "calcification": "a cluster of dense specks",
    "fracture": "a broken line with dense edges",
    "effusion": "a collection of fluid with a flat level",
    "opacity": "a patchy cloud without a border",
}
DEGREE = {"mild": "slight", "moderate": "of medium degree", "severe": "pronounced"}
EXTENT = {"small": "covers only a little of the image", "large": "covers much of the image"}

SAY = {
    "modality": ("this image was acquired with {}.", "the image was made with {}.", "{} was used."),
    "area": ("the image shows {}.", "{} can be seen here.", "this is an image of {}."),
    "finding": ("the image shows {}.", "one sees {}.", "there is {}."),
    "side": (
        "the finding lies to the {} of the midline.",
        "the {} part of the image is affected.",
        "it is seen on the {}.",
    ),
    "level": (
        "the finding lies in the {} half.",
        "the {} half of the image is affected.",
        "it is seen in the {} part.",
    ),
    "size": ("the finding {}.", "it {}.", "what is seen {}."),
    "severity": ("the change is {}.", "the finding is {}.", "it is {}."),
}
DESCRIBE = (
    "this {modality} of {body} shows {what}.",
    "the {modality} image of {body} has {what}.",
    "on {modality}, {body} can be seen with {what}.",
)


class Question(NamedTuple):
    """One question with its texts, without reference to a corpus."""

    type: str
    question: str
    answer: str
    extended: str


def with_article(noun: str) -> str:
    """Put ``a`` or ``an`` before a noun.

    Example:
        >>> with_article("effusion"), with_article("mass")
        ('an effusion', 'a mass')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def ask(
    factors: Factors, findings: Sequence[str], count: int, extended: Literal["paraphrase", "context"]
) -> list[Question]:
    """Draw questions of different types about one image.

    Args:
        factors: the image.
        findings: findings in use, of which ``presence`` asks the true one or, as often, another one.
        count: number of questions, at most 4, since four types apply to a normal image.
        extended: ``paraphrase`` says the short answer in other words; ``context`` adds a sentence with the other facts.

    Returns:
        ``count`` questions; a pure function of the arguments.
    """
    rng = generator(factors.seed, factors.index, Stream.QUESTIONS)
    types = ALWAYS if factors.finding == "normal" else ALWAYS + ABNORMAL
    order, *shares = rng.random((1 + count, len(ALWAYS + ABNORMAL))).tolist()
    chosen = sorted(types, key=dict(zip(types, order, strict=False)).__getitem__)[:count]
    return [_question(factors, findings, kind, share, extended) for kind, share in zip(chosen, shares, strict=True)]


def _question(
    factors: Factors, findings: Sequence[str], kind: str, share: list[float], extended: Literal["paraphrase", "context"]
) -> Question:
    if kind == "presence":
        asked = factors.finding if share[0] < 0.5 else _absent(factors.finding, findings, share[1], share[5])
        wording = ASK_NORMAL if asked == "normal" else ASK_PRESENCE
        question = _pick(wording, share[2]).format(with_article(asked))
        answer = "yes" if asked == factors.finding else "no"
        long = _say_presence(asked, answer, share[3])
    else:
        question, answer = _pick(ASK[kind], share[2]), getattr(factors, kind)
        long = _pick(SAY[kind], share[3]).format(_other_words(kind, answer))
    if extended == "context":
        long = f"{long} {describe(factors, share[4])}"
    return Question(kind, question, answer, long)


def _absent(finding: str, findings: Sequence[str], first: float, second: float) -> str:
    """A finding that is not there, such that every finding is asked about truly and falsely equally often.

    Normal images have half as many question types, so ``presence`` comes up twice as often for them; abnormal images
    make up for it by asking about ``normal`` in 2 of every ``len(findings) - 1`` cases. Exact from three findings on.
    """
    abnormal = [name for name in findings if name not in (finding, "normal")]
    if finding != "normal" and (first * (len(findings) - 1) < 2 or not abnormal):
        return "normal"
    return _pick(abnormal, second)


def _say_presence(asked: str, answer: str, share: float) -> str:
    if asked == "normal":
        options = {
            "yes": ("nothing abnormal is seen.", "all is as it should be."),
            "no": ("something abnormal is seen.", "the image is not normal."),
        }
    else:
        look = LOOK[asked]
        options = {
            "yes": (f"{look} is seen.", f"one sees {look}."),
            "no": (f"{look} is not seen.", f"nothing looks like {look}."),
        }
    return _pick(options[answer], share)


def _other_words(kind: str, answer: str) -> str:
    words = {"modality": TECHNIQUE, "area": BODY, "finding": LOOK, "severity": DEGREE, "size": EXTENT}
    return words[kind][answer] if kind in words else answer


def describe(factors: Factors, share: float = 0.0) -> str:
    """All facts about an image in one sentence, as somebody who sees its label would write them.

    Args:
        factors: the image.
        share: in [0, 1), chooses the wording.
    """
    if factors.finding == "normal":
        what = "no abnormality"
    else:
        what = f"a {factors.size} {factors.severity} {factors.finding} in the {factors.level} {factors.side} quadrant"
    return _pick(DESCRIBE, share).format(modality=factors.modality, body=BODY[factors.area], what=what)


def _pick(values: Sequence[str], share: float) -> str:
    return values[int(share * len(values))]
