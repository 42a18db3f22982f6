"""The phantom as a corpus: splits of records, images rendered when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medgraph.config import ConfigError, PhantomConfig
from medgraph.data.phantom.factors import SPLIT_CAPACITY, SPLITS, FactorSpace
from medgraph.data.phantom.questions import ALWAYS, ask
from medgraph.data.phantom.render import render
from medgraph.data.records import Corpus, Image, Record


def build_phantom(config: PhantomConfig) -> Corpus:
    """Write the records of all splits; no image is rendered before `Corpus.load_image` is called.

    The training images at a smaller fraction are the first ones of those at a larger fraction. ``ood`` holds only
    combinations of modality, area and finding that no other split contains.

    Args:
        config: see `medgraph.config.PhantomConfig`.

    Raises:
        ConfigError: if a count or share is outside its range, or ``ood`` images are wanted and nothing is held out.

    Example:
        >>> from medgraph.config import PhantomConfig
        >>> corpus = build_phantom(PhantomConfig(num_train=20, fraction=0.5))
        >>> len(corpus.splits["train"]), corpus.load_image(corpus.splits["ood"][0].image, 64).shape
        (30, (64, 64, 3))
    """
    if not 0 < config.fraction <= 1:
        raise ConfigError(f"data.fraction={config.fraction} is not a share in (0, 1]")
    if not 1 <= config.questions_per_image <= len(ALWAYS):
        raise ConfigError(
            f"data.questions_per_image={config.questions_per_image} is outside 1 to {len(ALWAYS)}: a normal image has "
            f"only the question types {', '.join(ALWAYS)}"
        )
    space = FactorSpace(config)
    counts = {split: getattr(config, f"num_{split}") for split in SPLITS}
    for split, count in counts.items():
        if not 0 <= count <= SPLIT_CAPACITY:
            raise ConfigError(f"data.num_{split}={count} is outside 0 to {SPLIT_CAPACITY}")
    if counts["ood"] and not space.unseen:
        raise ConfigError(
            "data.holdout=0 leaves no combinations for the ood split; set data.num_ood=0 or hold some out"
        )
    counts["train"] = round(counts["train"] * config.fraction)
    splits = {}
    for number, split in enumerate(SPLITS):
        first = number * SPLIT_CAPACITY
        splits[split] = [
            record for index in range(first, first + counts[split]) for record in _records(space, index, config)
        ]
    notes = {"seen combinations": len(space.seen), "held-out combinations": len(space.unseen)}
    return Corpus(splits, partial(load_phantom, space), notes)


def load_phantom(space: FactorSpace, image: str, side: int) -> Image:
    """Render the image with the index ``image`` (decimal digits) as (side, side, 3) uint8 RGB."""
    return render(space.appearance(space.draw(int(image))), side)


def _records(space: FactorSpace, index: int, config: PhantomConfig) -> Iterator[Record]:
    factors = space.draw(index)
    image_id = f"phantom-{config.seed}-{index}"
    triplet = factors.triplet
    subset = f"{factors.modality} {factors.area}"
    for number, item in enumerate(ask(factors, space.findings, config.questions_per_image, config.extended)):
        yield Record(
            id=f"{image_id}-{number}",
            image_id=image_id,
            image=str(index),
            question=item.question,
            answer=item.answer,
            extended=item.extended,
            answer_type="closed" if item.type == "presence" else "open",
            question_type=item.type,
            triplet=triplet,
            label=factors.finding,
            subset=subset,
            group=image_id,
        )
