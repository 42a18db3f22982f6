from dataclasses import replace

import torch

from medgraph.config import parse
from medgraph.config.schema import ExperimentConfig
from medgraph.data.records import Corpus
from medgraph.evaluation.results import Results
from medgraph.evaluation.score_cli import score
from medgraph.training.evaluate import evaluate


def test_everything_that_stands_beside_a_result(vlm, corpus, images, tokens, tmp_path):
    options = tuple(sorted({record.answer for record in corpus.splits["train"]})[:3])
    splits = {
        name: [
            replace(record, answer_type="choice", options=options, answer=options[i % 3]) if i % 2 else record
            for i, record in enumerate(corpus.splits[name])
        ]
        for name in corpus.splits
    }
    config = parse(
        ExperimentConfig(),
        [
            "eval.splits=[test]",
            "eval.limit=6",
            "eval.circular=true",
            "eval.corruptions=[noise]",
            "eval.max_new_tokens=4",
        ],
    )
    predictions, results = evaluate(
        config, vlm, Corpus(splits, corpus.load_image), tokens, images, tmp_path, torch.device("cpu")
    )
    controls = list(dict.fromkeys(p.control for p in predictions))
    assert controls[:5] == ["none", "no_image", "shuffled_image", "majority", "nearest_question"]
    assert all(p.logprobs for p in predictions if p.answer_type == "choice")
    assert [entry.split for entry in results.calibration] == ["test"], "4 validation images fit no temperature"
    assert {entry.answers for entry in results.circular} == {"generated", "likelihood"}
    assert [entry.severity for entry in results.robustness] == ["low", "medium", "high"]
    assert {"strict", "likelihood", "exgra", "text"} <= {entry.protocol for entry in results.protocols}
    strict = next(entry for entry in results.protocols if entry.protocol == "strict")
    assert set(strict.rivals) >= {"total_accuracy"}
    assert Results.load(tmp_path / "results.json").to_dict() == results.to_dict()
    report = score(tmp_path, protocol="exgra", resamples=0)
    assert "vocabulary" in {group.control for group in report.groups}, "the folder has its training answers"
