"""What a dual encoder knows: zero-shot classification, retrieval, linear probes with few labels.

Letters: N images, D width of the shared space, W width of the vision tower, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medgraph.contrast.data import Pair, pairs_in, tokenize
from medgraph.contrast.encoder import encode_words
from medgraph.contrast.options import ContrastConfig, class_words
from medgraph.data.collate import stack_images
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus, Image, Record, conversations_in
from medgraph.evaluation.estimate import Estimate, estimate_means
from medgraph.evaluation.probes import Features, Labels, probe
from medgraph.evaluation.retrieval import score_retrieval
from medgraph.evaluation.statistics import Floats
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.method import ZeroShot
from medgraph.training.representations import labelled_images

BATCH = 128
TASKS = ("label", "modality", "area")
KS = (1, 5, 10)
SHARES = (0.01, 0.1, 1.0)
"""Of the labelled training images that linear probes are fitted to."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One share with its 95 % interval over images, and what guessing gets (NaN where nothing is said)."""

    title: str
    n: int
    value: float
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan


def figure(title: str, n: int, estimate: Estimate, chance: float = math.nan) -> Figure:
    """A figure of an estimate."""
    return Figure(title, n, estimate.value, estimate.low, estimate.high, chance)


@torch.no_grad()
def encode_images(encoder: DualEncoder, load: Callable[[str], Image], images: Sequence[str]) -> tuple[Floats, Floats]:
    """Encode images, once for all figures.

    Returns:
        (N, W) pooled features of the vision tower before the projection, for probes, and (N, D) in the shared space.
    """
    features, shared = [], []
    for start in range(0, len(images), BATCH):
        batch = stack_images([load(image) for image in images[start : start + BATCH]]).to(encoder.mean.device)
        pixels = (batch.float() / 255 - encoder.mean) / encoder.std
        pooled = encoder.model.vision_model(pixel_values=pixels).pooler_output
        features.append(pooled)
        shared.append(encoder.model.visual_projection(pooled) if encoder.kind == "clip" else pooled)
    made = [torch.cat(parts).double().cpu().numpy() for parts in (features, shared)]
    return made[0], made[1]


@torch.no_grad()
def encode_texts(encoder: DualEncoder, texts: Sequence[str]) -> Floats:
    """(N, D) texts, cut where they are too long."""
    batches = (tokenize(encoder, texts[start : start + BATCH])[0] for start in range(0, len(texts), BATCH))
    parts = [encode_words(encoder, batch.to(encoder.mean.device))[0] for batch in batches]
    return torch.cat(parts).double().cpu().numpy()


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


def retrieval(
    shared: Floats, texts: Floats, pairs: Sequence[Pair], rng: np.random.Generator, resamples: int = 1000
) -> dict[str, Figure]:
    """Recall at 1, 5 and 10 of the text of an image and of the image of a text, see `score_retrieval`.

    Args:
        shared: (N, D) images.
        texts: (N, D), those of the images.
        pairs: N pairs; equal texts answer each other.
        rng: of the bootstrap over queries.
        resamples: of the bootstrap.
    """
    scored = score_retrieval(shared, texts, [pair.text for pair in pairs], rng, KS, resamples)
    return {
        f"{direction}_{k}": figure(f"Recall@{k}, {direction.replace('_', ' ')}", len(pairs), figures[f"recall@{k}"],
                                   figures[f"chance@{k}"].value)
        for direction, figures in scored.items() for k in KS
    }  # fmt: skip


def take_labels(y: Labels, share: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Choose a share of the samples, class by class and at least one of each.

    From one state of the source, smaller shares are contained in larger ones.

    Example:
        >>> y = np.repeat([0, 1], [30, 3])
        >>> few, many = (take_labels(y, share, np.random.default_rng(0)) for share in (0.1, 0.5))
        >>> np.bincount(y[few]), np.bincount(y[many]), set(few) <= set(many)
        (array([3, 1]), array([15,  2]), True)
    """
    chosen = []
    for c in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == c))
        chosen.append(members[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def linear_probes(
    train: Features, validation: Features, test: Features, seed: int, resamples: int = 200
) -> dict[str, Figure]:
    """Linear probes on shares of the training labels; weight decay and thresholds are chosen on validation.

    Args:
        train: all labelled training images.
        validation: as a whole, at every share.
        test: what is reported on.
        seed: of the choice of labels and of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        Accuracy ``linear_<per cent>`` and macro AUROC ``linear_auroc_<per cent>``.
    """
    found = {}
    for share in SHARES:
        index = take_labels(train.y, share, np.random.default_rng(seed))
        few = Features(train.x[index], train.y[index], [train.groups[i] for i in index])
        result = probe(few, validation, test, np.random.default_rng(seed), resamples)[1]
        name, of = f"{round(100 * share)}", f"{len(index)} labels ({share:.0%})"
        found[f"linear_{name}"] = figure(f"Linear probe, accuracy, {of}", result.n, result.figures["accuracy"])
        auroc = result.figures["macro_auroc"]
        found[f"linear_auroc_{name}"] = figure(f"Linear probe, macro AUROC, {of}", result.n, auroc, 0.5)
    return found


@torch.no_grad()
def measure_split(
    encoder: DualEncoder, corpus: Corpus, config: ContrastConfig, split: str, resamples: int = 1000
) -> dict[str, Figure]:
    """Zero-shot and retrieval figures of one split.

    Raises:
        ConfigError: if the split has no pairs.
    """
    load, rng = ImageCache(corpus, encoder.image_size), np.random.default_rng(config.seed)
    pairs = pairs_in(corpus, [split], config.text)
    records = [pair.record for pair in pairs]
    shared = encode_images(encoder, load, [record.image for record in records])[1]
    texts = encode_texts(encoder, [pair.text for pair in pairs])
    known = [group[0] for group in conversations_in(corpus.splits["train"])]
    classified = zero_shot(encoder, shared, records, known, config.templates, class_words(config), rng, resamples)
    return classified | retrieval(shared, texts, pairs, rng, resamples)


def measure(encoder: DualEncoder, corpus: Corpus, config: ContrastConfig) -> dict[str, Figure]:
    """All figures on the test split.

    Raises:
        ConfigError: if train, val or test lack what is measured.
    """
    load = ImageCache(corpus, encoder.image_size)
    features = []
    for split in ("train", "val", "test"):
        labelled = labelled_images(corpus, split)
        x = encode_images(encoder, load, [each.image for each in labelled])[0]
        features.append(Features(x, np.array([each.label for each in labelled]), [each.group for each in labelled]))
    train, validation, test = features
    return measure_split(encoder, corpus, config, "test") | linear_probes(train, validation, test, config.seed)
