from collections.abc import Callable

import numpy as np
import pytest

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.scoring import strict_score

MakePrediction = Callable[..., Prediction]


@pytest.fixture
def make_prediction() -> MakePrediction:
    """Build a prediction from what matters to a test; the score follows from answer and prediction."""

    def make(id: str = "q0", **values) -> Prediction:
        defaults = {
            "image_id": f"image-{id}", "split": "test", "subset": "phantom", "triplet": "CT/Lung/Cancer",
            "question_type": "finding", "answer_type": "open", "prompt": "What is seen?", "answer": "nodule",
            "prediction": "nodule",
        }  # fmt: skip
        values = {**defaults, **values}
        score = strict_score(values["answer"], values["prediction"], values["answer_type"], values.get("options", ()))
        return Prediction(**{"id": id, "score": score, **values})

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
