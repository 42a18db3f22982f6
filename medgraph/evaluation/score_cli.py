"""``medgraph score`` and ``medgraph compare`` as functions that return data; `medgraph.report.scores` renders it.

Both only read files of answers; no model is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medgraph.evaluation.foreign import read_answers, read_candidates, read_training_questions
from medgraph.evaluation.plain import to_plain
from medgraph.evaluation.predictions import NO_CONTROL
from medgraph.evaluation.protocol_table import ProtocolResult, ScoredGroup, protocol_results, score_groups
from medgraph.evaluation.protocols import PROTOCOLS, get_protocol
from medgraph.evaluation.results import difference
from medgraph.evaluation.statistics import Difference, Interval, cluster_bootstrap, detectable_difference, holm
from medgraph.progress import track

PREDICTIONS = "predictions.jsonl"
CANDIDATES = "candidates.json"
"""Distinct open answers of the training set, in the folder of a run."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Everything ``medgraph score`` shows.

    Attributes:
        path: as given.
        groups: every split and control under every protocol.
        notes: counted remarks about the input.
    """

    path: str
    groups: Sequence[ScoredGroup]
    notes: Mapping[str, int]

    @property
    def results(self) -> tuple[ProtocolResult, ...]:
        """The model's figures beside the best control of each."""
        return protocol_results(self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``--json``: figures in per cent with n and interval; None where undefined."""
        return {
            "path": self.path,
            "notes": dict(self.notes),
            "results": [{**to_plain(result), "headline": result.headline} for result in self.results],
            "groups": [
                {
                    "split": group.split,
                    "control": group.control,
                    "n": group.n,
                    "images": group.images,
                    "warnings": list(group.warnings),
                    "protocols": {name: to_plain(score.figures) for name, score in group.scores.items()},
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
    train: str | Path | None = None,
) -> ScoreReport:
    """Score a file of answers under one protocol or all.

    Args:
        path: answers in any format of `read_answers`, or a run folder with ``predictions.jsonl``.
        truth: ground truth file for answers that do not carry it.
        candidates: distinct open answers of the training set, for the open accuracy of the LLaVA-Med family and for
            the vocabulary dump beside every protocol; a run folder has them, ``train`` contains them.
        protocol: a name, several separated by commas, or ``all``; ``text``, which is slow, only by its name.
        allow_missing: count unanswered questions as wrong.
        resamples: of the bootstrap over images.
        train: training questions in a format of ground truth, for the controls that need no model.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for unknown protocols and for input that is not understood.
    """
    wanted = [name.strip() for name in protocol.split(",")]
    names = [name for name in PROTOCOLS if "all" in wanted and name != "text"]
    names += [get_protocol(name).name for name in wanted if name not in (*names, "all")]
    own = Path(path) / CANDIDATES
    if candidates is None and train is None and own.exists():
        candidates = own
    answers = read_answers(_file(path), truth, allow_missing)
    groups = score_groups(
        answers.predictions,
        names,
        read_candidates(candidates) if candidates else None,
        read_training_questions(train) if train else (),
        resamples,
    )
    return ScoreReport(str(path), groups, answers.notes)


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
            split: {"detectable": self.detectable[split], "runs": to_plain(runs)} for split, runs in self.splits.items()
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
        for path, mine in track(zip(paths, members, strict=True), f"comparing {split}", len(paths)):
            rng = np.random.default_rng(seed)
            versus = None if mine is members[0] else difference(members[0], mine, rng, resamples)
            points = [p.score for p in mine]
            interval = cluster_bootstrap(points, [p.image_id for p in mine], rng, resamples)
            compared.append(ComparedRun(str(path), float(np.mean(points)), interval, len(mine), versus, math.nan))
        corrected = holm([run.versus.p if run.versus else math.nan for run in compared])
        splits[split] = [replace(run, p_holm=p) for run, p in zip(compared, corrected, strict=True)]
        detectable[split] = detectable_difference(len(members[0]))
    return Comparison(splits, detectable)


def _file(path: str | Path) -> Path:
    path = Path(path)
    return path / PREDICTIONS if path.is_dir() else path
