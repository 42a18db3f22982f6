"""What a dual encoder knows: zero-shot classification, retrieval, linear probes with few labels.

Letters: N images, D width of the shared space, W width of the vision tower, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from medgraph.config import ConfigError
from medgraph.contrast.data import Pair, pairs_in, tokenize
from medgraph.contrast.encoder import encode_words
from medgraph.contrast.figure import Figure, figure
from medgraph.contrast.options import ContrastConfig, class_words
from medgraph.contrast.zero_shot import zero_shot
from medgraph.data.collate import stack_images
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus, Image, conversations_in
from medgraph.evaluation.probes import Features, Labels, probe
from medgraph.evaluation.retrieval import score_retrieval
from medgraph.evaluation.statistics import Floats
from medgraph.prompting.encoder import DualEncoder
from medgraph.training.representations import labelled_images

BATCH = 128
KS = (1, 5, 10)
SHARES = (0.01, 0.1, 1.0)
"""Of the labelled training images that linear probes are fitted to."""


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
    """All figures on the test split; no probes where a split has no labels.

    Raises:
        ConfigError: if the split has no pairs.
    """
    load, figures = ImageCache(corpus, encoder.image_size), measure_split(encoder, corpus, config, "test")
    try:
        splits = [labelled_images(corpus, split) for split in ("train", "val", "test")]
    except ConfigError:
        return figures
    features = []
    for labelled in splits:
        x = encode_images(encoder, load, [each.image for each in labelled])[0]
        features.append(Features(x, np.array([each.label for each in labelled]), [each.group for each in labelled]))
    train, validation, test = features
    return figures | linear_probes(train, validation, test, config.seed)
