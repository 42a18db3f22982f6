"""Choice and closed questions by likelihood: the allowed answer with the highest score counts as chosen.

Nothing has to be parsed, and every question gets an answer; that differs from generation, where a model that says
something else is wrong. Both are reported side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.choice import best_options
from medgraph.evaluation.parsing import normalise
from medgraph.evaluation.predictions import Prediction


def truth_index(prediction: Prediction) -> int | None:
    """Position of the truth among the allowed answers; None where it is none of them."""
    allowed = [normalise(option) for option in prediction.allowed]
    truth = normalise(prediction.answer)
    return allowed.index(truth) if truth in allowed else None


def scored(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Questions that can be ranked: with log-likelihoods, and with a truth among the allowed answers."""
    return [p for p in predictions if p.logprobs and truth_index(p) is not None]


def logprob_table(predictions: Sequence[Prediction]) -> npt.NDArray[np.float64]:
    """(N, K) log-likelihoods of the allowed answers, -inf behind those a question has."""
    table = np.full((len(predictions), max(len(p.logprobs) for p in predictions)), -np.inf)
    for row, prediction in zip(table, predictions, strict=True):
        row[: len(prediction.logprobs)] = prediction.logprobs
    return table


def chosen_index(prediction: Prediction, text: bool = False) -> int | None:
    """Position of the allowed answer with the highest likelihood; None where the model gave none.

    Args:
        prediction: of a choice or closed question.
        text: rank by the whole text of the options instead of their letters.
    """
    values = prediction.text_logprobs if text else prediction.logprobs
    return int(best_options([values], [len(values)])[0]) if values else None
