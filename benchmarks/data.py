"""Throughput of the image pipeline, one process and one thread: images a second by source and side.

    python benchmarks/data.py                      # generated JPEG files
    python benchmarks/data.py --root /data/images  # images below a folder

Rows: the Hugging Face CLIP processor (decode, resize, crop, normalise to float32), our loader (the same geometry to
uint8; normalisation happens in the model, on the device), and the memory-mapped cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
from rich.console import Console
from rich.table import Table
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from medgraph.data.cache import CachedImages, cache_images
from medgraph.data.images import ImageFolder, decode
from medgraph.data.paths import is_image
from medgraph.data.records import Corpus, MATTriplet, Record


def generate(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        PIL.Image.fromarray(coarse).resize((768, 640), PIL.Image.Resampling.BICUBIC).save(
            folder / f"{i}.jpg", quality=90
        )


def rate(load: Callable[[str], object], images: list[str], seconds: float) -> float:
    load(images[0])
    start, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        load(images[done % len(images)])
        done += 1
    return done / elapsed


def corpus_of(images: list[str], root: Path) -> Corpus:
    facts = {"question": "", "answer": "", "extended": "", "question_type": "", "label": "", "subset": "", "group": ""}
    records = [
        Record(id=image, image_id=image, image=image, answer_type="open", triplet=MATTriplet("", "", ""), **facts)
        for image in images
    ]
    return Corpus({"train": records}, ImageFolder(root))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of images; default: generated 768 x 640 JPEG files")
    parser.add_argument("--count", type=int, default=200, help="images used")
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 336])
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each row")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        if options.root is None:
            generate(root, options.count)
        found = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if is_image(p.name))
        images = found[:: max(1, len(found) // options.count)][: options.count]
        table = Table("side", "source", "images/s", "against Hugging Face", title=f"{len(images)} images of {root}")
        for side in options.sides:
            processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
            corpus = corpus_of(images, root)
            cached = cache_images(corpus, side, Path(scratch) / "cache", progress=False).load_image
            assert isinstance(cached, CachedImages)
            sources: dict[str, Callable[[str], object]] = {
                "Hugging Face processor": lambda image, p=processor: p(decode(root / image), return_tensors="np"),
                "medgraph": lambda image, s=side, c=corpus: c.load_image(image, s),
                "medgraph, cached": lambda image, s=side, c=cached: c(image, s),
            }
            rates = {name: rate(load, images, options.seconds) for name, load in sources.items()}
            for name, value in rates.items():
                table.add_row(str(side), name, f"{value:,.0f}", f"{value / rates['Hugging Face processor']:.2f} x")
        Console().print(table)


if __name__ == "__main__":
    main()
