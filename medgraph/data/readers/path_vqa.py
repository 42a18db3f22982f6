"""PathVQA (He et al., arXiv:2003.10286): pathology questions, from the Parquet files of its public mirror.

The original pickle files are not read: unpickling runs code. Every row of the Parquet files holds its image; the images
are written below the root once, named by their content, so that one image is one image however many questions it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from medgraph.data.errors import DataError
from medgraph.data.readers.common import SplitRule
from medgraph.data.readers.manifest import Row, corpus_from_rows, read_rows
from medgraph.data.records import Corpus

SPLITS = {"train": "train", "validation": "val", "test": "test"}


def read_path_vqa(root: Path, rule: SplitRule = "official", fraction: float = 1.0, seed: int = 0) -> Corpus:
    """Read PathVQA.

    Args:
        root: folder with ``train-*.parquet``, ``validation-*.parquet`` and ``test-*.parquet``, or ``data/`` with them.
        rule: see `medgraph.data.readers.common.SplitRule`.
        fraction: share of the training images.
        seed: seed of the groups held back for ``task``.

    Raises:
        DataError: for missing files and malformed rows.
    """
    folder = root / "data" if (root / "data").is_dir() else root
    tables = []
    for name, split in SPLITS.items():
        files = sorted(folder.glob(f"{name}-*.parquet"))
        if not files:
            raise DataError.at("file_missing", folder / f"{name}-*.parquet", found=None, expected="Parquet files",
                               fix="download all three splits")  # fmt: skip
        tables += [_rows(file, split) for file in files]
    return corpus_from_rows(chain.from_iterable(tables), folder, root, rule=rule, fraction=fraction, seed=seed)


def _rows(file: Path, split: str) -> Iterator[Row]:
    for row in read_rows(file):
        yield {**row, "split": split, "subset": "path-vqa", "modality": "Mic"}
