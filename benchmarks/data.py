"""Throughput and exactness of the image pipeline, one process and one thread, in seconds of processor time.

    python benchmarks/data.py                      # generated JPEG files
    python benchmarks/data.py --root /data/images  # images below a folder
    python benchmarks/data.py --json --check

Rows: the Hugging Face CLIP processor (decode, resize, crop, normalise to float32), our loader (the same geometry to
uint8; normalisation happens in the model, on the device), and the memory-mapped cache. The alternatives are measured in
turn; ratios are medians over the rounds. ``--check`` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL.Image
import torch
from common import Bar, Row, finish, interleave, options, ratio
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from medgraph.data.cache import cache_images
from medgraph.data.images import ImageFolder, decode
from medgraph.data.paths import is_image
from medgraph.data.records import Corpus, MATTriplet, Record
from medgraph.models.vision import CLIP_MEAN, CLIP_STD

LOADER_BAR, CACHE_BAR, DIFFERENCE_BAR = 1.2, 100.0, 1e-6


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--root", type=Path, help="folder of images; default: generated 768 x 640 JPEG files")
    parser.add_argument("--count", type=int, default=100, help="images used")
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 336])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.root or Path(scratch)
        if args.root is None:
            generate(root, args.count)
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path.name))
        images = found[:: max(1, len(found) // args.count)][: args.count]
        rows = (measure(images, root, side, args.rounds, Path(scratch) / "cache") for side in args.sides)
        finish(args, rows, show)


def measure(images: list[str], root: Path, side: int, rounds: int, cache: Path) -> Row:
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    corpus = corpus_of(images, root)
    cached = cache_images(corpus, side, cache).load_image
    sources: dict[str, Callable[[str], Any]] = {
        "huggingface": lambda image: processor(decode(root / image), return_tensors="np")["pixel_values"][0],
        "medgraph": lambda image: corpus.load_image(image, side),
        "cached": lambda image: cached(image, side),
    }
    difference = max(
        float(np.abs(sources["huggingface"](image) - normalise(sources["medgraph"](image))).max()) for image in images
    )
    equal = all(np.array_equal(sources["medgraph"](image), sources["cached"](image)) for image in images)
    parts = {"huggingface": images, "medgraph": images, "cached": 20 * images}  # one pass is too short for the clock

    def read(name: str) -> None:
        for image in parts[name]:
            sources[name](image)

    seconds = {
        name: [value / len(parts[name]) for value in values]
        for name, values in interleave({name: partial(read, name) for name in sources}, rounds).items()
    }
    ratios = {name: ratio(seconds, "huggingface", name) for name in sources}
    rates = {name: 1 / statistics.median(times) for name, times in seconds.items()}
    bars = [
        Bar("difference to the processor", difference, DIFFERENCE_BAR),
        Bar("the cache holds the same bytes", float(equal), 1.0, at_least=True),
        Bar("loader, times faster", ratios["medgraph"], LOADER_BAR, at_least=True),
        Bar("cache, times faster", ratios["cached"], CACHE_BAR, at_least=True),
    ]
    figures = {"images_per_second": rates, "ratios": ratios, "difference": difference}
    return Row(f"side {side}, {len(images)} images", figures, bars)


def normalise(image: np.ndarray) -> np.ndarray:
    """What the vision tower does to an image, as (3, S, S) float32."""
    values = torch.tensor(image).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return ((values - mean) / std).numpy()


def show(row: Row) -> str:
    names = {"huggingface": "Hugging Face processor", "medgraph": "medgraph", "cached": "medgraph, cached"}
    rates, ratios = row.figures["images_per_second"], row.figures["ratios"]
    lines = [f"    {title:<24}{rates[name]:>10,.0f} images/s{ratios[name]:>10,.2f} x" for name, title in names.items()]
    return "\n".join([row.what, *lines])


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
