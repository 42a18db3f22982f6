"""Published results beside a run's: shown only for as many test questions, and with our answers scored as theirs were.

The packaged ``published.csv`` holds only results whose scoring protocol is known and implemented here. They carry no
interval, because the papers give none, and are never compared with ours by a test.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols import Figure, score_protocol
from medgraph.evaluation.results import NO_CONTROL

SPLITS = ("test", "ood")
"""Splits that published results may stand beside; validation questions never are a published test set."""
FIGURES = {
    "recall": "open, recall",
    "closed_accuracy": "closed, accuracy",
    "average": "average",
    "choice_accuracy": "choice, accuracy",
}
"""Figures in ``published.csv`` and how they are headed."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published number.

    Attributes:
        dataset: name of the data subset, as in `Prediction.subset`.
        n: questions of the published test set; None where the paper does not list it.
        method: as the paper calls it.
        pretraining: share of the pre-training data; "" where it does not apply.
        figure: a key of `FIGURES`.
        value: in per cent, as printed.
        protocol: the one that scores as the paper does, a key of `PROTOCOLS`.
        source: arXiv id of the paper.
        place: where in it, and how the number got here if not from the paper itself.
    """

    dataset: str
    n: int | None
    method: str
    pretraining: str
    figure: str
    value: str
    protocol: str
    source: str
    place: str


@dataclass(slots=True)
class Beside:
    """What a report shows of published results.

    Attributes:
        ours: (data set, split, protocol, figures by name) of the run.
        theirs: (data set, method, pretraining, values by figure, protocol, source with place).
        figures: names of the figures that occur, in the order of `FIGURES`.
        notes: why published results are not shown, and what else to know.
    """

    ours: list[tuple[str, str, str, dict[str, Figure]]] = field(default_factory=list)
    theirs: list[tuple[str, str, str, dict[str, str], str, str]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@cache
def read_published() -> tuple[Published, ...]:
    """The packaged results."""
    path = Path(__file__).parent / "resources" / "published.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return tuple(Published(n=int(n) if (n := row.pop("n")) else None, **row) for row in rows)


def beside(predictions: Sequence[Prediction]) -> Beside:
    """Published results on the data sets of a run, and the run's answers under the same protocols.

    A data set with a published test set is shown only if the run answered as many questions of it as that has.

    Args:
        predictions: of one run; only the model's own answers count.
    """
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for p in predictions:
        if p.control == NO_CONTROL and p.split in SPLITS:
            groups[p.subset, p.split].append(p)
    shown = Beside()
    for (dataset, split), answers in groups.items():
        known = [entry for entry in read_published() if entry.dataset == dataset]
        if not known:
            continue
        n = known[0].n
        if n is not None and n != len(answers):
            shown.notes.append(
                f"{dataset}: published results are on {n:,} test questions, this run answered {len(answers):,} in "
                f"split {split}, so they are not shown."
            )
            continue
        _add(shown, split, answers, known)
    if any(entry.n is None for entry in read_published() if entry.dataset in {row[0] for row in shown.ours}):
        shown.notes.append(
            "The Med-MAT paper does not list its test images: ours come from the same subsets but are other images."
        )
    return shown


def _add(shown: Beside, split: str, answers: Sequence[Prediction], known: Sequence[Published]) -> None:
    dataset = known[0].dataset
    for protocol in dict.fromkeys(entry.protocol for entry in known):
        wanted = {entry.figure for entry in known if entry.protocol == protocol}
        scores = score_protocol(answers, protocol)
        ours = {name: scores.get(name) for name in FIGURES if name in wanted and scores.get(name).n}
        if ours:
            shown.ours.append((dataset, split, protocol, ours))
    values: dict[tuple[str, str, str, str], dict[str, str]] = defaultdict(dict)
    for entry in known:
        key = entry.method, entry.pretraining, entry.protocol, f"{entry.source}, {entry.place}"
        values[key][entry.figure] = entry.value
    shown.theirs += [
        (dataset, method, pretraining, figures, protocol, source)
        for (method, pretraining, protocol, source), figures in values.items()
    ]
    used = {entry.figure for entry in known} | set(shown.figures)
    shown.figures = [name for name in FIGURES if name in used]
