"""One question about one image file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraph.config import ConfigError
from medgraph.data.collate import Tokens, collate_questions
from medgraph.data.images import decode, fit
from medgraph.data.records import MATTriplet, Record
from medgraph.evaluation.parsing import parse_choice
from medgraph.models.medvlm import MedVLM
from medgraph.training.predict import reply_logprobs

MAX_OPTIONS = 26
"""As many as there are letters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says.

    Attributes:
        text: as generated.
        chosen: index of the option that the text chooses; None without options, or where it chooses none.
        logprobs: log-likelihood of each option's letter.
        text_logprobs: log-likelihood of each option's whole text and the end of the answer.
    """

    text: str
    chosen: int | None = None
    logprobs: tuple[float, ...] = ()
    text_logprobs: tuple[float, ...] = ()


def answer_question(
    vlm: MedVLM, tokens: Tokens, image: Path, question: str, options: Sequence[str] = (), max_new_tokens: int = 64
) -> Answer:
    """Ask as evaluation does: greedily, options with letters.

    Args:
        vlm: the model.
        tokens: tokenizer and sizes of the model.
        image: picture, DICOM or NIfTI file.
        question: without options.
        options: the allowed answers, 2 to `MAX_OPTIONS`; none: an open question.
        max_new_tokens: longest answer.

    Raises:
        DataError: if the image is missing or unreadable, or the question contains a special token.
        ConfigError: for one option, more than there are letters, or the same one twice.
    """
    if len(options) == 1 or len(options) > MAX_OPTIONS:
        raise ConfigError(f"{len(options)} option(s): a choice question needs 2 to {MAX_OPTIONS}")
    if len(set(options)) < len(options):
        raise ConfigError(f"the same option twice: {', '.join(options)}")
    record = Record(
        id="question", image_id=str(image), image=str(image), question=question, answer="", extended="",
        answer_type="choice" if options else "open", question_type="", triplet=MATTriplet("", "", ""), label="",
        subset="", group="", options=tuple(options),
    )  # fmt: skip
    batch = collate_questions([(fit(decode(image), vlm.vision.image_size), record)], tokens)
    batch = batch.to(next(vlm.parameters()).device)
    (text,) = vlm.generate(batch, max_new_tokens)
    if not options:
        return Answer(text)
    (scores,) = reply_logprobs(vlm, batch)
    return Answer(text, parse_choice(text, options), scores["logprobs"], scores["text_logprobs"])
