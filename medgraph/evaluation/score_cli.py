"""``medgraph score`` and ``medgraph compare`` as functions that return data; `medgraph.report.scores` renders it.

Both only read files of answers; no model is needed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medgraph.evaluation.controls import TrainingQuestion, constant, gaming_warnings, vocabulary_dump
from medgraph.evaluation.foreign import read_answers, read_candidates
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols import PROTOCOLS, Figure, ProtocolScore, get_protocol, score_protocol
from medgraph.evaluation.protocols.protocol import Candidates
from medgraph.evaluation.results import NO_CONTROL, difference
from medgraph.evaluation.statistics import Difference, Interval, cluster_bootstrap, detectable_difference, holm

PREDICTIONS = "predictions.jsonl"
CANDIDATES = "candidates.json"
"""Distinct open answers of the training set, in the folder of a run."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """One split under one control, scored under one or more protocols.

    Attributes:
        split: of the predictions.
        control: of the predictions.
        n: questions.
        images: distinct images.
        scores: by protocol, in the order asked for.
        gaming: headline in per cent that answers without a model get, by protocol: ``always yes`` for its closed
            accuracy, ``vocabulary`` for its average (only with candidates).
        warnings: signs that a protocol overrates the answers.
    """

    split: str
    control: str
    n: int
    images: int
    scores: Mapping[str, ProtocolScore]
    gaming: Mapping[str, Mapping[str, float]]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Everything ``medgraph score`` shows."""

    path: str
    groups: Sequence[ScoredGroup]
    notes: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``--json``: figures in per cent with n and interval; None where undefined."""
        return {
            "path": self.path,
            "notes": dict(self.notes),
            "groups": [
                {
                    "split": group.split,
                    "control": group.control,
                    "n": group.n,
                    "images": group.images,
                    "warnings": list(group.warnings),
                    "without_a_model": {name: dict(values) for name, values in group.gaming.items()},
                    "protocols": {
                        name: {figure: _plain(value) for figure, value in score.figures.items()}
                        for name, score in group.scores.items()
                    },
                }
                for group in self.groups
            ],
        }


def score(
    path: str | Path,
    truth: str | Path | None = None,
    candidates: str | Path | None = None,
    protocol: str = "all",
    allow_missing: bool = False,
    resamples: int = 2000,
) -> ScoreReport:
    """Score a file of answers under one protocol or all.

    Args:
        path: answers in any format of `read_answers`, or a run folder with ``predictions.jsonl``.
        truth: ground truth file for answers that do not carry it.
        candidates: distinct open answers of the training set, for the open accuracy of the LLaVA-Med family and for
            the vocabulary dump beside every protocol.
        protocol: a name, several separated by commas, or ``all``.
        allow_missing: count unanswered questions as wrong.
        resamples: of the bootstrap over images.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for unknown protocols and for input that is not understood.
    """
    names = list(PROTOCOLS) if protocol == "all" else [get_protocol(name.strip()).name for name in protocol.split(",")]
    answers = read_answers(_file(path), truth, allow_missing)
    known = read_candidates(candidates) if candidates else Candidates()
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for prediction in answers.predictions:
        groups[prediction.split, prediction.control].append(prediction)
    scored = [_score_group(key, members, names, known, resamples) for key, members in groups.items()]
    return ScoreReport(str(path), scored, answers.notes)


def _score_group(
    key: tuple[str, str],
    members: Sequence[Prediction],
    names: Sequence[str],
    candidates: Candidates,
    resamples: int,
) -> ScoredGroup:
    """Score one split and control; protocols that define nothing for its questions are left out."""
    scores = {name: score_protocol(members, name, candidates, resamples) for name in names}
    scores = {name: protocol for name, protocol in scores.items() if protocol.figures}
    gaming = {name: _without_model(members, name, candidates) for name in scores}
    images = len({p.image_id for p in members})
    return ScoredGroup(*key, len(members), images, scores, gaming, gaming_warnings(members))


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run on one split, beside the first run.

    Attributes:
        path: as given.
        accuracy: mean strict score in [0, 1].
        interval: over images.
        n: questions.
        versus: paired difference to the first run on common questions; None for the first run itself.
        p_holm: McNemar's p corrected for the number of runs compared on the split.
    """

    path: str
    accuracy: float
    interval: Interval
    n: int
    versus: Difference | None
    p_holm: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs by split, and the smallest difference that the number of questions can show."""

    splits: Mapping[str, Sequence[ComparedRun]]
    detectable: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``--json``; None where undefined."""
        return {
            split: {"detectable": self.detectable[split], "runs": [_finite(asdict(run)) for run in runs]}
            for split, runs in self.splits.items()
        }


def compare(paths: Sequence[str | Path], resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Compare runs with the first one, question by question, under the strict protocol.

    Args:
        paths: two or more run folders or prediction files.
        resamples: of the bootstrap over images.
        seed: of the bootstrap.

    Raises:
        ValueError: for fewer than two runs, or if two runs share no split or no question.
    """
    if len(paths) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(paths)}")
    runs = [[p for p in read_answers(_file(path)).predictions if p.control == NO_CONTROL] for path in paths]
    common = [s for s in dict.fromkeys(p.split for p in runs[0]) if all(any(p.split == s for p in run) for run in runs)]
    if not common:
        raise ValueError(f"the runs have no split in common; {paths[0]} has {', '.join({p.split for p in runs[0]})}")
    splits, detectable = {}, {}
    for split in common:
        members = [[p for p in run if p.split == split] for run in runs]
        compared = []
        for path, mine in zip(paths, members, strict=True):
            rng = np.random.default_rng(seed)
            versus = None if mine is members[0] else difference(members[0], mine, rng, resamples)
            points = [p.score for p in mine]
            interval = cluster_bootstrap(points, [p.image_id for p in mine], rng, resamples)
            compared.append(ComparedRun(str(path), float(np.mean(points)), interval, len(mine), versus, math.nan))
        corrected = holm([run.versus.p if run.versus else math.nan for run in compared])
        splits[split] = [replace(run, p_holm=p) for run, p in zip(compared, corrected, strict=True)]
        detectable[split] = detectable_difference(len(members[0]))
    return Comparison(splits, detectable)


def _without_model(members: Sequence[Prediction], protocol: str, candidates: Candidates) -> dict[str, float]:
    """Headline of answers without a model under a protocol, in per cent."""
    baseline = {}
    yes = score_protocol(constant("yes", members, "always_yes"), protocol, resamples=0).get("closed_accuracy")
    if yes.n:
        baseline["always yes"] = yes.value
    if candidates.answers:
        train = [TrainingQuestion("", answer, "", "open") for answer in (*candidates.answers, "yes", "no")]
        dump = score_protocol(vocabulary_dump(train, members), protocol, candidates, resamples=0)
        headline = dump.get("average") if dump.protocol.average else dump.get("total_accuracy")
        if headline.n:
            baseline["vocabulary"] = headline.value
    return baseline


def _file(path: str | Path) -> Path:
    path = Path(path)
    return path / PREDICTIONS if path.is_dir() else path


def _plain(figure: Figure) -> dict[str, Any]:
    low, high = figure.interval.low, figure.interval.high
    return {"value": figure.value, "n": figure.n, **_finite({"low": low, "high": high})}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
