"""SURE-VQA (arXiv:2411.19688): LLaVA-Med's word overlap for open questions, whole words for closed ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.llava import normalise_llava, overlap_figures
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values, is_open
from medgraph.evaluation.protocols.text import sentence_bleu


def _sure(prediction: Prediction, candidates: Candidates) -> Values:
    if is_open(prediction):
        truth, said = (normalise_llava(t.lower()) for t in (prediction.answer, prediction.prediction))
        words, answer = truth.split(), said.split()
        bleu = {f"bleu{n}": sentence_bleu(words, answer, (1 / n,) * n) for n in (1, 2, 3)}
        return overlap_figures(truth, said) | bleu
    categories = prediction.options or ("yes", "no")
    truths, answers = (_mentioned(t, categories) for t in (prediction.answer, prediction.prediction))
    return {"closed_accuracy": float(answers == truths)} if len(truths) == 1 else {}


def _mentioned(text: str, categories: Sequence[str]) -> list[str]:
    """Categories that occur in the text as whole words."""
    lowered = text.lower()
    return [c for c in categories if re.search(rf"\b{re.escape(c.lower())}\b", lowered)]


SURE = Protocol(
    "sure",
    "SURE-VQA eval_metrics.py",
    "closed: exactly one category as a whole word; questions whose truth is no category are left out",
    _sure,
    ("recall", "closed_accuracy"),
    True,
)
