"""Extended answers from templates: the same answer in more words, or with the facts that the triplet adds.

ExGra-Med (arXiv:2410.02615) lets a language model extend the answers. Templates need no model and invent nothing:
`paraphrase` repeats the short answer, `context` adds modality, area and task, as a writer would who sees the label.
The wording depends on a hash of the record id, so it is the same in every run and epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from medgraph.data.records import MATTriplet
from medgraph.data.splits import position
from medgraph.data.vocabulary import AREAS, MODALITIES, TASKS

Extension = Literal["paraphrase", "context"]

PARAPHRASES = (
    "The answer is {label}.",
    "The best description of this image is {label}.",
    "This image is assessed as {label}.",
    "What the image shows is best labelled {label}.",
    "Taken together, the appearance corresponds to {label}.",
    "On reading this image, the conclusion is {label}.",
)

CONTEXTS = (
    "This {modality} shows the {area}. For {task}, it is assessed as {label}.",
    "The {modality} covers the {area}; the finding in terms of {task} is {label}.",
    "We see the {area} in this {modality}. The question is one of {task}, and the answer is {label}.",
    "In this {modality} of the {area}, {task} leads to the reading {label}.",
    "{label} is the conclusion: the picture is one {modality} of the {area}, read for {task}.",
    "The {modality} at hand, of the {area} and examined for {task}, is labelled {label}.",
)

REPLIES = (
    'Asked "{question}", the answer is {answer}.',
    'The image answers the question "{question}" with {answer}.',
    '{answer}: this is what the image says to the question "{question}"',
    'To "{question}" one has to reply {answer}.',
)


def extend_reply(question: str, answer: str, key: str) -> str:
    """Write the extended answer to a free question: the question's words and the answer's, nothing more.

    Args:
        question: the question.
        answer: the short answer.
        key: id of the record; decides the wording.

    Example:
        >>> extend_reply("Is it broken?", "no", "2")
        'To "Is it broken?" one has to reply no.'
    """
    return REPLIES[int(position(0, "wording", key) * len(REPLIES))].format(question=question, answer=answer)


def extend_answer(answer: str, triplet: MATTriplet, mode: Extension, key: str, options: Sequence[str] = ()) -> str:
    """Write the extended answer of one record.

    Args:
        answer: the short answer.
        triplet: modality, area and task of the image; only `context` uses it.
        mode: which kind of extension.
        key: id of the record; decides the wording.
        options: the offered answers; `context` names those that are thereby excluded.
            Give none where answers can be true together.

    Raises:
        ValueError: for an unknown mode.

    Example:
        >>> extend_answer("Cyst", MATTriplet("CT", "Kidney", "diseases"), "context", "7", ["Cyst", "Stone"])
        'In this CT scan of the kidney, disease classification leads to the reading Cyst. It is not Stone.'
    """
    if mode not in ("paraphrase", "context"):
        raise ValueError(f"extended={mode!r}: expected paraphrase or context")
    templates = PARAPHRASES if mode == "paraphrase" else CONTEXTS
    template = templates[int(position(0, "wording", key) * len(templates))]
    text = template.format(
        label=answer,
        modality=MODALITIES.describe(triplet.modality),
        area=AREAS.describe(triplet.area),
        task=TASKS.describe(triplet.task),
    )
    others = [option for option in options if option != answer]
    if mode == "context" and others:
        text += f" It is not {' or '.join(others)}."
    return text
