from dataclasses import replace

import pytest
import torch

from medgraph.evaluation.predictions import read_predictions
from medgraph.training.predict import predict
from medgraph.training.views import plain_views


@pytest.fixture
def questions(corpus):
    first, second, third = corpus.splits["test"][:3]
    return [
        replace(first, answer_type="choice", options=("cyst", "large mass", "normal"), answer="normal"),
        replace(second, answer_type="closed", answer="Yes"),
        replace(third, answer_type="open", answer="left lung"),
    ]


def test_allowed_answers_are_scored_and_a_stopped_run_continues_to_the_same_file(
    vlm, questions, images, tokens, tmp_path
):
    def ask(records, file):
        return predict(
            vlm, plain_views({"test": records}, images, controls=False), tokens, tmp_path / file,
            batch_size=2, max_new_tokens=3, likelihood=True, device=torch.device("cpu"),
        )  # fmt: skip

    choice, closed, opened = ask(questions, "whole.jsonl")
    assert (len(choice.logprobs), len(choice.text_logprobs)) == (3, 3)
    assert (len(closed.logprobs), closed.text_logprobs) == (2, ())
    assert opened.logprobs == opened.text_logprobs == ()
    assert all(value < 0 for p in (choice, closed) for value in (*p.logprobs, *p.text_logprobs))
    ask(questions[:1], "stopped.jsonl")
    ask(questions, "stopped.jsonl")
    assert (tmp_path / "stopped.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert read_predictions(tmp_path / "whole.jsonl") == [choice, closed, opened]


def test_without_likelihood_nothing_is_scored(vlm, questions, images, tokens, tmp_path):
    views = plain_views({"test": questions[:1]}, images, controls=False)
    (only,) = predict(
        vlm, views, tokens, tmp_path / "p.jsonl", batch_size=2, max_new_tokens=2, likelihood=False,
        device=torch.device("cpu"),
    )  # fmt: skip
    assert only.logprobs == ()
