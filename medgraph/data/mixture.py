"""Several sources as one corpus: exact numbers of training images, and for each source the splits it contributes to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medgraph.config import ConfigError, MixtureConfig
from medgraph.config.mixture import MixturePart, mixture_parts
from medgraph.config.sources import SPLITS
from medgraph.data import build_corpus
from medgraph.data.images import ImageFolder, image_root
from medgraph.data.records import Corpus, Image, Record, take_images


@dataclass(frozen=True)
class MixedImages:
    """Images of several corpora; a name is the number of its corpus, a slash, and the name there."""

    loaders: Sequence[Callable[[str, int], Image]]

    def __call__(self, image: str, side: int) -> Image:
        """Load an image: (side, side, 3) uint8 RGB."""
        number, _, name = image.partition("/")
        return self.loaders[int(number)](name, side)


def build_mixture(config: MixtureConfig) -> Corpus:
    """Read all sources and lay them side by side.

    The training images of a source are ranked by a hash, so a smaller number is contained in a larger one and no source
    depends on another. ``data.fraction`` takes the same share of each.

    Raises:
        ConfigError: if a source holds fewer training images than are wanted, or two sources the same records.
        DataError: for data that is missing or malformed.
    """
    parts = mixture_parts(config)
    corpora = [build_corpus(part.data) for part in parts]
    name_image, load_image = _images(corpora)
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    owners: dict[str, str] = {}
    notes: Counter[str] = Counter()
    for number, (part, corpus) in enumerate(zip(parts, corpora, strict=True)):
        source = f"data.sources[{number}] ({part.data.name})"
        drawn = _drawn(part, corpus, config.fraction, source)
        for split in part.splits:
            for record in corpus.splits.get(split, ()):
                if owners.setdefault(record.id, source) != source:
                    raise ConfigError(f"{source}: record {record.id} is in {owners[record.id]} too; name a source once")
                if split != "train" or record.image_id in drawn:
                    image = name_image(number, record.image)
                    group = f"{number}/{record.group}"
                    splits[split].append(replace(record, image_id=image, image=image, group=group))
        if drawn:
            notes[f"{source}: training images"] = len(drawn)
        notes.update({f"{source}: {note}": count for note, count in corpus.notes.items()})
    turns = {corpus.turns for corpus in corpora if corpus.turns is not None}
    if len(turns) > 1:
        raise ConfigError(
            f"data.sources: turns={', '.join(map(str, sorted(turns)))}; set the same number for all of them"
        )
    ordered = frozenset[str]().union(*(corpus.ordered for corpus in corpora))
    return Corpus(splits, load_image, notes, ordered, turns.pop() if turns else None)


def _drawn(part: MixturePart, corpus: Corpus, fraction: float, source: str) -> set[str]:
    """Ids of the training images that a source gives."""
    if "train" not in part.splits:
        return set()
    there = {record.image_id for record in corpus.splits["train"]}
    wanted = len(there) if part.count is None else part.count
    if wanted > len(there):
        raise ConfigError(f"{source}: {wanted} training images wanted, {len(there)} there; lower its count")
    return take_images(there, max(1, round(fraction * wanted)))


def _images(corpora: Sequence[Corpus]) -> tuple[Callable[[int, str], str], Callable[[str, int], Image]]:
    """How images are named in the mixture, and what loads them: relative to a common folder where all are files."""
    roots = [root for corpus in corpora if (root := image_root(corpus.load_image)) is not None]
    if len(roots) < len(corpora):
        return lambda number, image: f"{number}/{image}", MixedImages([corpus.load_image for corpus in corpora])
    common = Path(os.path.commonpath([root.absolute() for root in roots]))
    folders = [root.absolute().relative_to(common) for root in roots]
    return lambda number, image: (folders[number] / image).as_posix(), ImageFolder(common)
