"""BLEU, ROUGE-L and chrF of open answers, from torchmetrics: for answers of a sentence and more.

`medgraph.evaluation.protocols.text` reproduces what published scorers print instead.
"""

from __future__ import annotations

from functools import lru_cache

from medgraph.evaluation.parsing import normalise
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values, is_open


def _text(prediction: Prediction, candidates: Candidates) -> Values:
    return _overlaps(normalise(prediction.answer), normalise(prediction.prediction)) if is_open(prediction) else {}


@lru_cache(maxsize=65536)
def _overlaps(truth: str, said: str) -> dict[str, float]:
    if not said:
        return dict.fromkeys(("bleu1", "bleu4", "rouge_l", "chrf"), 0.0)
    from torchmetrics.functional.text import bleu_score, chrf_score, rouge_score

    chrf = chrf_score([said], [[truth]], n_word_order=0)
    assert not isinstance(chrf, tuple)
    return {
        "bleu1": float(bleu_score([said], [[truth]], n_gram=1)),
        "bleu4": float(bleu_score([said], [[truth]], n_gram=4)),
        "rouge_l": float(rouge_score([said], [truth], rouge_keys="rougeL")["rougeL_fmeasure"]),
        "chrf": float(chrf),
    }


TEXT = Protocol(
    "text",
    "torchmetrics",
    "open questions only; means over answers; BLEU-4 is 0 for answers of fewer than four words",
    _text,
)
