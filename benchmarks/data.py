"""Throughput and exactness of the image pipeline, one process and one thread, in seconds of processor time.

    python benchmarks/data.py                      # generated JPEG files
    python benchmarks/data.py --root /data/images  # images below a folder
    python benchmarks/data.py --json --check

Rows: the Hugging Face CLIP processor (decode, resize, crop, normalise to float32), our loader (the same geometry to
uint8; normalisation happens in the model, on the device), and the memory-mapped cache. The alternatives are measured in
turn; ratios are medians over the rounds. ``--check`` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL.Image
import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from medgraph.data.cache import cache_images
from medgraph.data.images import ImageFolder, decode
from medgraph.data.paths import is_image
from medgraph.data.records import Corpus, MATTriplet, Record
from medgraph.models.vision import CLIP_MEAN, CLIP_STD

LOADER_BAR, CACHE_BAR, DIFFERENCE_BAR = 1.2, 100.0, 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of images; default: generated 768 x 640 JPEG files")
    parser.add_argument("--count", type=int, default=100, help="images used")
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 336])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.root or Path(scratch)
        if args.root is None:
            generate(root, args.count)
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path.name))
        images = found[:: max(1, len(found) // args.count)][: args.count]
        rows = [measure(images, root, side, args.rounds, Path(scratch) / "cache") for side in args.sides]
    print(json.dumps(rows, indent=2) if args.json else "\n".join(map(show, rows)))
    missed = [bar for row in rows for bar, met in row["bars"].items() if not met]
    if args.check and missed:
        sys.exit("missed: " + "; ".join(missed))


def measure(images: list[str], root: Path, side: int, rounds: int, cache: Path) -> dict[str, Any]:
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    corpus = corpus_of(images, root)
    cached = cache_images(corpus, side, cache, progress=False).load_image
    sources: dict[str, Callable[[str], Any]] = {
        "huggingface": lambda image: processor(decode(root / image), return_tensors="np")["pixel_values"][0],
        "medgraph": lambda image: corpus.load_image(image, side),
        "cached": lambda image: cached(image, side),
    }
    difference = max(
        float(np.abs(sources["huggingface"](image) - normalise(sources["medgraph"](image))).max()) for image in images
    )
    equal = all(np.array_equal(sources["medgraph"](image), sources["cached"](image)) for image in images)
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(rounds):
        for name, load in sources.items():
            part = images * 20 if name == "cached" else images[turn::rounds]  # one pass is too short for the clock
            start = time.process_time()
            for image in part:
                load(image)
            seconds[name].append((time.process_time() - start) / len(part))
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds["huggingface"], seconds[name], strict=True))
        for name in sources
    }
    bars = {
        f"side {side}: difference to the processor {difference:.1e} <= {DIFFERENCE_BAR:.0e}": difference
        <= DIFFERENCE_BAR,
        f"side {side}: the cache holds the same bytes": equal,
        f"side {side}: loader {ratios['medgraph']:.1f}x >= {LOADER_BAR}x": ratios["medgraph"] >= LOADER_BAR,
        f"side {side}: cache {ratios['cached']:.0f}x >= {CACHE_BAR:.0f}x": ratios["cached"] >= CACHE_BAR,
    }
    rates = {name: 1 / statistics.median(times) for name, times in seconds.items()}
    return {"side": side, "images": len(images), "images_per_second": rates, "ratios": ratios,
            "difference": difference, "bars": bars}  # fmt: skip


def normalise(image: np.ndarray) -> np.ndarray:
    """What the vision tower does to an image, as (3, S, S) float32."""
    values = torch.tensor(image).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return ((values - mean) / std).numpy()


def show(row: dict[str, Any]) -> str:
    names = {"huggingface": "Hugging Face processor", "medgraph": "medgraph", "cached": "medgraph, cached"}
    lines = [f"side {row['side']}, {row['images']} images"]
    lines += [
        f"    {title:<24}{row['images_per_second'][name]:>10,.0f} images/s{row['ratios'][name]:>10,.2f} x"
        for name, title in names.items()
    ]
    return "\n".join([*lines, *(f"    {'ok    ' if met else 'MISSED'} {bar}" for bar, met in row["bars"].items())])


def generate(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        PIL.Image.fromarray(coarse).resize((768, 640), PIL.Image.Resampling.BICUBIC).save(
            folder / f"{i}.jpg", quality=90
        )


def corpus_of(images: list[str], root: Path) -> Corpus:
    facts = {"question": "", "answer": "", "extended": "", "question_type": "", "label": "", "subset": "", "group": ""}
    records = [
        Record(id=image, image_id=image, image=image, answer_type="open", triplet=MATTriplet("", "", ""), **facts)
        for image in images
    ]
    return Corpus({"train": records}, ImageFolder(root))


if __name__ == "__main__":
    main()
