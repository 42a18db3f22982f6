"""PathVQA (He et al., arXiv:2003.10286): pathology questions, from the Parquet files of its public mirror.

The original pickle files are not read: unpickling runs code. Every row of the Parquet files holds its image.
"""

from __future__ import annotations

from pathlib import Path

from medgraph.config import Columns, ManifestConfig, PathVQAConfig
from medgraph.data.errors import DataError
from medgraph.data.readers.manifest import corpus_from_rows
from medgraph.data.readers.tables import read_folder_rows
from medgraph.data.records import Corpus

SPLITS = ("train", "validation", "test")


def build_path_vqa(config: PathVQAConfig) -> Corpus:
    """Read ``train-*.parquet``, ``validation-*.parquet`` and ``test-*.parquet``, or ``data/`` with them.

    Raises:
        DataError: for missing files and malformed rows.
    """
    root = Path(config.root)
    folder = root / "data" if (root / "data").is_dir() else root
    for split in SPLITS:
        if not any(folder.glob(f"{split}-*.parquet")):
            raise DataError.at("file_missing", folder / f"{split}-*.parquet", found=None, expected="Parquet files",
                               fix="download all three splits")  # fmt: skip
    rows = ({**row, "subset": "path-vqa", "modality": "Mic"} for row in read_folder_rows(folder))
    shared = {key: value for key, value in vars(config).items() if key != "name"}
    return corpus_from_rows(rows, ManifestConfig(**shared, columns=Columns()), root)
