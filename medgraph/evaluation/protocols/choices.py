"""Choice and closed questions: by likelihood, and as Med-MAT and OmniMedVQA were published."""

from __future__ import annotations

import re
import string
from difflib import SequenceMatcher

from medgraph.evaluation.likelihood import chosen_index, truth_index
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values


def _ranked(prediction: Prediction, text: bool) -> Values:
    chosen, truth = chosen_index(prediction, text), truth_index(prediction)
    if chosen is None or truth is None:
        return {}
    right = float(chosen == truth)
    return {f"{prediction.answer_type}_accuracy": right, "total_accuracy": right}


def _likelihood(prediction: Prediction, candidates: Candidates) -> Values:
    return _ranked(prediction, text=False)


def _likelihood_text(prediction: Prediction, candidates: Candidates) -> Values:
    return _ranked(prediction, text=True)


def _medmat(prediction: Prediction, candidates: Candidates) -> Values:
    truth = truth_index(prediction)
    if not prediction.options or truth is None:
        return {}
    letter = re.match(r"\W*([A-Z])(?!\w)", prediction.prediction)
    return {"choice_accuracy": float(letter is not None and letter[1] == string.ascii_uppercase[truth])}


def _omnimedvqa(prediction: Prediction, candidates: Candidates) -> Values:
    if not prediction.options:
        return {}
    ratios = [SequenceMatcher(None, option, prediction.prediction).ratio() for option in prediction.options]
    chosen = prediction.options[ratios.index(max(ratios))] if max(ratios) > 0 else None
    return {"choice_accuracy": float(chosen == prediction.answer)}


LIKELIHOOD = Protocol(
    "likelihood",
    "MedGraph",
    "the letter, or yes or no, with the highest likelihood; nothing is parsed",
    _likelihood,
)
LIKELIHOOD_TEXT = Protocol(
    "likelihood_text",
    "MedGraph",
    "the option whose whole text is most likely, ending included; longer options have it harder",
    _likelihood_text,
)
MEDMAT = Protocol(
    "medmat",
    "Med-MAT (arXiv:2412.20070), by its description: no script was released",
    "the answer must begin with the letter of the truth",
    _medmat,
)
OMNIMEDVQA = Protocol(
    "omnimedvqa",
    "ExGra-Med's zero-shot OmniMedVQA script",
    "the option most similar to the answer by difflib is taken as chosen; a letter may resemble a wrong option",
    _omnimedvqa,
    gameable=True,
)
