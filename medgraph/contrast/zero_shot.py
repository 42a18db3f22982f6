"""Classification by prompts alone: the class whose words are nearest to an image.

Letters: N images, D width of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from medgraph.contrast.figure import Figure, figure
from medgraph.data.records import Record
from medgraph.evaluation.estimate import estimate_means
from medgraph.evaluation.statistics import Floats
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.method import ZeroShot

TASKS = ("label", "modality", "area")


def classes_of(task: str, record: Record) -> tuple[str, str]:
    """The pool of classes that a record is told apart in, and its class: labels within a subset, others among all."""
    return (record.subset, record.label) if task == "label" else ("", getattr(record.triplet, task))


def zero_shot_points(
    scores: Callable[[str], Floats], pools: Mapping[str, Sequence[str]], true: Sequence[tuple[str, str]]
) -> tuple[Floats, Floats]:
    """Points of zero-shot classification within pools; of classes that tie for the first place each counts its share.

    Args:
        scores: (N,) similarity of all images to a class.
        pools: classes by pool.
        true: pool and class of each of the N images.

    Returns:
        (N,) points, and (N,) chance: one over the classes of the pool.

    Example:
        >>> scores = {"cyst": np.array([0.9, 0.2]), "mass": np.array([0.1, 0.2])}.__getitem__
        >>> zero_shot_points(scores, {"ct": ["cyst", "mass"]}, [("ct", "cyst"), ("ct", "mass")])[0]
        array([1. , 0.5])
    """
    columns = {name: scores(name) for names in pools.values() for name in names}
    points, chance = np.zeros(len(true)), np.zeros(len(true))
    for row, (pool, name) in enumerate(true):
        values = {other: columns[other][row] for other in pools[pool]}
        first = [other for other, value in values.items() if value == max(values.values())]
        points[row], chance[row] = (name in first) / len(first), 1 / len(values)
    return points, chance


def zero_shot(
    encoder: DualEncoder,
    shared: Floats,
    records: Sequence[Record],
    known: Iterable[Record],
    templates: Sequence[str],
    words: Mapping[str, str],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Figure]:
    """Zero-shot accuracy of labels (within their subset), modalities and areas, each where there are two or more.

    Args:
        encoder: frozen.
        shared: (N, D) images.
        records: one an image.
        known: where classes come from: training.
        templates: with a place for the class.
        words: what texts call a class, where that is not its name.
        rng: of the bootstrap over groups.
        resamples: of the bootstrap.

    Returns:
        Figures ``zero_shot_<task>``; images whose class is not known or alone are left out.
    """
    unit = torch.from_numpy(shared / np.maximum(np.linalg.norm(shared, axis=1, keepdims=True), 1e-12))
    known, found = list(known), {}
    for task in TASKS:
        pools: dict[str, list[str]] = {}
        for pool, name in sorted({classes_of(task, record) for record in known}):
            if name:
                pools.setdefault(pool, []).append(name)
        pools = {pool: names for pool, names in pools.items() if len(names) > 1}
        keys = [classes_of(task, record) for record in records]
        rows = [row for row, (pool, name) in enumerate(keys) if name in pools.get(pool, ())]
        if not rows:
            continue
        names = sorted({name for pool in pools.values() for name in pool})
        texts = ZeroShot(encoder, ClassTexts(tuple(words.get(name, name) for name in names), ()), templates).texts
        table = dict(zip(names, (unit[rows] @ texts.double().cpu().T).T.numpy(), strict=True))
        points, chance = zero_shot_points(table.__getitem__, pools, [keys[row] for row in rows])
        groups = [records[row].group for row in rows]
        estimate = estimate_means({task: points}, groups, rng, resamples)[task]
        found[f"zero_shot_{task}"] = figure(f"Zero-shot accuracy, {task}", len(rows), estimate, float(chance.mean()))
    return found
