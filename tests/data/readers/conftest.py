import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write(tmp_path):
    """Write a file below tmp_path: JSON for lists, CSV for lists with a .csv name, a random image for no content.

    Every image that a list of records names is made as well, unreadable but there, in every folder readers look in.
    """

    def make(name: str, content=None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in re.findall(r"[\w/.-]+\.(?:png|jpg)", str(content)):
            for folder in ("", "images", "imgs", "figures"):
                image = tmp_path / folder / text
                if not image.exists() and ".." not in text:
                    image.parent.mkdir(parents=True, exist_ok=True)
                    image.write_bytes(text.encode())
        if content is None:
            pixels = np.random.default_rng(abs(sum(map(ord, name)))).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        elif path.suffix in (".csv", ".tsv"):
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(content[0]), delimiter="," if path.suffix == ".csv" else "\t")
                writer.writeheader()
                writer.writerows(content)
        else:
            path.write_text(json.dumps(content, ensure_ascii=False))
        return path

    return make


@pytest.fixture
def records_of():
    """Every record once; ``task`` contains ``train``."""
    return lambda corpus: list({record.id: record for split in corpus.splits.values() for record in split}.values())
