"""What a trained model or a plain vision tower represents: probes on image features, retrieval between nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from medgraph.config import ConfigError, ExperimentConfig, ModelConfig, PhantomConfig, parse
from medgraph.data import build_corpus
from medgraph.data.collate import TokenBatch, Tokens, pad, stack_images
from medgraph.data.conversation import encode_answers
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus, Image, conversations_in
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.probes import Features, ProbeResult, probe
from medgraph.evaluation.retrieval import score_retrieval
from medgraph.evaluation.statistics import Floats
from medgraph.models.build import build_vision
from medgraph.models.medvlm import MedVLM
from medgraph.models.text_nodes import read_batch
from medgraph.models.vision import VisionTower
from medgraph.progress import track
from medgraph.training.trained import load_trained, saved_config

BATCH = 64


Retrieval = dict[str, dict[str, Estimate]]


class LabelledImage(NamedTuple):
    """An image with the number of its class, and what must not be split (patient, source)."""

    image: str
    label: int
    group: str


def probe_model(model: str, overrides: Sequence[str] = ()) -> tuple[tuple[ProbeResult, ProbeResult], Retrieval | None]:
    """Probe the tower of a run or a tower of its own; a run on its own data is also measured by retrieval.

    Args:
        model: folder of a run, or a vision tower: a short name, hub name or local path.
        overrides: ``data=… data.root=…``; without any a run is probed on its data and a tower on the phantom.

    Raises:
        ConfigError: for a mistake in the overrides, or a run or data that cannot be probed.
    """
    other = build_corpus(parse(ExperimentConfig(), overrides).data) if overrides else None
    if not (Path(model) / "config.yaml").exists():
        tower = build_vision(ModelConfig(vision=model, vision_layer=-1))
        return probe_tower(tower, other or build_corpus(PhantomConfig())), None
    config, corpus, vlm = load_run(Path(model))
    if other is not None:
        return probe_tower(vlm.vision, other), None
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, config.model.max_length)
    return probe_tower(vlm.vision, corpus), retrieve(vlm, corpus, tokens)


def load_run(folder: Path) -> tuple[ExperimentConfig, Corpus, MedVLM]:
    """Configuration, data and trained model of a run.

    Raises:
        ConfigError: if none of its stages has finished.
    """
    vlm = load_trained(folder).vlm
    config = parse(saved_config(folder))
    return config, build_corpus(config.data), vlm


@torch.no_grad()
def image_features(tower: VisionTower, load: Callable[[str], Image], images: Sequence[str]) -> Floats:
    """(N, D) features of images: the mean over the patches of the hidden state that the tower is used at."""
    made = []
    for start in track(range(0, len(images), BATCH), "features of images"):
        batch = stack_images([load(image) for image in images[start : start + BATCH]]).to(tower.mean.device)
        made.append(tower(batch).float().mean(1).cpu().numpy())
    return np.concatenate(made).astype(np.float64)


def probe_tower(
    tower: VisionTower, corpus: Corpus, seed: int = 0, resamples: int = 1000
) -> tuple[ProbeResult, ProbeResult]:
    """Probe a tower for the labels of a corpus: fit on ``train``, choose on ``val``, report on ``test``.

    Classes are the labels of each subset; validation and test images whose class training lacks are left out.

    Raises:
        ConfigError: if a split has no labelled image left.
    """
    load = ImageCache(corpus, tower.image_size)
    train, validation, test = (
        tower_features(tower, load, labelled_images(corpus, name)) for name in ("train", "val", "test")
    )
    return probe(train, validation, test, np.random.default_rng(seed), resamples)


def labelled_images(corpus: Corpus, split: str) -> list[LabelledImage]:
    """Images of a split with the class of their label; those whose class training lacks are left out.

    Raises:
        ConfigError: if none is left.
    """
    classes: dict[tuple[str, str], int] = {}
    for record in corpus.splits["train"]:
        classes.setdefault((record.subset, record.label), len(classes))
    records = [group[0] for group in conversations_in(corpus.splits[split])]
    known = [record for record in records if record.label and (record.subset, record.label) in classes]
    if not known:
        raise ConfigError(f"split {split} has no image with a label that training has; a probe needs train, val, test")
    return [LabelledImage(record.image, classes[record.subset, record.label], record.group) for record in known]


def tower_features(tower: VisionTower, load: Callable[[str], Image], images: Sequence[LabelledImage]) -> Features:
    """Features and classes of images, see `image_features`."""
    x = image_features(tower, load, [labelled.image for labelled in images])
    return Features(x, np.array([labelled.label for labelled in images]), [labelled.group for labelled in images])


@torch.no_grad()
def retrieve(
    vlm: MedVLM, corpus: Corpus, tokens: Tokens, split: str = "test", seed: int = 0, resamples: int = 1000
) -> Retrieval:
    """Retrieval between the image and answer nodes of a model, the nodes an alignment head works on.

    Images with equal answers are hits of each other's texts.

    Args:
        vlm: the model.
        corpus: data.
        tokens: tokenizer and sizes of the model.
        split: which images.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    load = ImageCache(corpus, vlm.vision.image_size)
    groups = conversations_in(corpus.splits[split])
    texts = [encode_answers(tokens.tokenizer, records, tokens.max_length, extended=False) for records in groups]
    nodes: dict[str, list[torch.Tensor]] = {"image": [], "text": []}
    for start in track(range(0, len(groups), BATCH), "features of images and texts"):
        batch = stack_images([load(records[0].image) for records in groups[start : start + BATCH]])
        encoded = TokenBatch(*pad(texts[start : start + BATCH], tokens.tokenizer.pad_token_id))
        ids = torch.arange(len(batch))
        nodes["image"].append(vlm.image_nodes(vlm.encode_images(batch), ids).pooled)
        nodes["text"].append(read_batch(vlm, None, {}, {"text": encoded}, {"text": ids})[1]["text"].pooled)
    image, text = (torch.cat(nodes[name]).float().numpy() for name in ("image", "text"))
    return score_retrieval(image, text, [str(ids) for ids in texts], np.random.default_rng(seed), resamples=resamples)
