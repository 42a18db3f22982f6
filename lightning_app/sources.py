"""From a path to a corpus: which reader understands it, and several data sets side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medgraph.config import ConfigError, MedMATConfig
from medgraph.data import BUILDERS, read
from medgraph.data.images import ImageFolder
from medgraph.data.medmat import build_medmat
from medgraph.data.medmat_files import read_groups
from medgraph.data.paths import is_image
from medgraph.data.records import Corpus, MATTriplet, Record

MEDMAT, IMAGES = "medmat", "images"
MARKS = {
    MEDMAT: ("Aggregated_Subsets", "Aggrregated_Subsets", "[Ss]ubset-*.json"),
    "vqa_rad": ("testset.json", "VQA*RAD*.json"),
    "slake": ("imgs",),
    "omni_med_vqa": ("QA_information",),
    "pmc_vqa": ("train_2.csv",),
    "path_vqa": ("train-*.parquet", "data/train-*.parquet"),
    "hf": ("dataset_dict.json", "state.json"),
}
"""Reader to the names that only its data sets have."""
FILES = {".json": "conversations", ".csv": "manifest", ".tsv": "manifest", ".jsonl": "manifest", ".parquet": "manifest"}
"""Suffix of a single file to reader."""
NEED_MORE = (MEDMAT, "phantom", "folder", "masks", "mixture")
BY_PATH = (MEDMAT, IMAGES, *(name for name in BUILDERS if name not in NEED_MORE))
"""Readers that need nothing but the path."""


@dataclass(frozen=True, slots=True)
class Source:
    """A corpus and the folder its images are in.

    Attributes:
        corpus: what was read.
        root: ``Record.image`` is relative to it.
        sources: image to published source, as far as known.
    """

    corpus: Corpus
    root: Path
    sources: Mapping[str, str] = field(default_factory=dict)


def find_reader(path: Path, reader: str = "") -> str:
    """Name of the reader for a path: the one asked for, or the one whose data sets look like it.

    Raises:
        ConfigError: if the path does not exist, nothing fits, or the reader is unknown or needs more than a path.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    if reader:
        if reader not in BY_PATH:
            raise ConfigError(f"--reader {reader}: expected one of {', '.join(BY_PATH)}")
        return reader
    if path.is_file():
        if path.suffix not in FILES:
            raise ConfigError(f"{path}: expected a folder, or a file that ends in {', '.join(FILES)}")
        return FILES[path.suffix]
    for name, patterns in MARKS.items():
        if any(next(path.glob(pattern), None) for pattern in patterns):
            return name
    return IMAGES


def open_source(path: Path, reader: str = "") -> Source:
    """Read a data set as a run would.

    Args:
        path: folder or file.
        reader: see `BY_PATH`; "": by `find_reader`.

    Raises:
        ConfigError: as `find_reader`.
        DataError: whatever the reader finds wrong.
    """
    name = find_reader(path, reader)
    if name == MEDMAT:
        subsets = read_groups(path / "groups.csv").values()
        sources = {image: fact.source for images in subsets for image, fact in images.items()}
        return Source(build_medmat(MedMATConfig(root=str(path))), path, sources)
    return Source(_images(path) if name == IMAGES else read(name, path), path if path.is_dir() else path.parent)


def side_by_side(sources: Mapping[Path, Source]) -> Source:
    """Lay data sets side by side, so that the audit compares them: splits and groups carry the name of their set.

    Args:
        sources: path as the user wrote it to data set; a single one is returned as it is.
    """
    if len(sources) == 1:
        return next(iter(sources.values()))
    common = Path(os.path.commonpath([source.root.absolute() for source in sources.values()]))
    splits: dict[str, Sequence[Record]] = {}
    origins: dict[str, str] = {}
    for name, source in sources.items():
        folder = source.root.absolute().relative_to(common).as_posix()
        for split, records in source.corpus.splits.items():
            splits[f"{name}:{split}"] = [
                replace(record, image=f"{folder}/{record.image}", group=f"{name}/{record.group}") for record in records
            ]
        origins |= {f"{folder}/{image}": origin for image, origin in source.sources.items()}
    return Source(Corpus(splits, ImageFolder(common)), common, origins)


def _images(root: Path) -> Corpus:
    """Every image file below a folder as a corpus of one split."""
    paths = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if is_image(p.name))
    if not paths:
        raise ConfigError(f"{root} has no images and is no known data set; name its reader: --reader NAME, "
                          f"one of {', '.join(BY_PATH)}")  # fmt: skip
    unknown = MATTriplet("unknown", "unknown", "unknown")
    records = [
        Record(
            id=path, image_id=path, image=path, question="", answer="", extended="", answer_type="open",
            question_type="", triplet=unknown, label="", subset=root.name, group=path,
        )
        for path in paths
    ]  # fmt: skip
    return Corpus({"images": records}, ImageFolder(root))
