"""What `medgraph data list`, `show` and `matrix` print: the registry and a corpus as tables and contact sheets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import PIL.Image
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from medgraph.data.plan import measured_role
from medgraph.data.records import Corpus, Record
from medgraph.data.registry import Registry, SubsetSpec


def list_subsets(specs: Iterable[SubsetSpec]) -> Table:
    """Table of subsets: number, triplet, name, kind, data sets, the paper's role."""
    table = Table(title="Subsets", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("subset", "triplet", "also", "name", "kind", "data sets", "paper"):
        widest = {"also": 10, "kind": 8, "data sets": 10}.get(name)
        table.add_column(name, max_width=widest, no_wrap=name in ("subset", "triplet"), overflow="fold")
    for spec in specs:
        also = ", ".join(sorted(spec.tags - {spec.triplet.task}))
        kind = f"{spec.kind}, multi" if spec.multilabel else spec.kind
        datasets = ", ".join(map(str, spec.datasets))
        table.add_row(spec.key, str(spec.triplet), also, spec.name, kind, datasets, spec.role or "")
    return table


def show_subset(spec: SubsetSpec, registry: Registry) -> RenderableType:
    """Everything the registry knows about a subset: its data sets with links, access, licences and known errors."""
    relatives = [
        f"subset-{min(pair - {spec.no}):02d} ({', '.join(names)})"
        for pair, names in registry.shared_datasets().items()
        if spec.no in pair
    ]
    values = {
        "triplet": str(spec.triplet),
        "name": spec.name,
        "categories": ", ".join(sorted(spec.tags)),
        "kind": f"{spec.kind}, multi-label" if spec.multilabel else spec.kind,
        "role in the paper": spec.role or "none",
        "evidence of the category": spec.evidence,
        "same triplet": ", ".join(s.key for s in registry if s.triplet == spec.triplet and s != spec) or "none",
        "shares sources with": ", ".join(relatives) or "none",
    }
    facts = Table.grid(padding=(0, 2))
    for name, value in values.items():
        facts.add_row(name, value)
    table = Table("no", "data set", "access", "licence", title="Data sets")
    table.add_column("link", overflow="fold")
    table.add_column("note")
    for number in spec.datasets:
        dataset = registry.datasets[number]
        table.add_row(
            str(dataset.no), dataset.name, dataset.access, dataset.licence or "see link", dataset.url, dataset.note
        )
    return Group(spec.key, facts, *([table] if spec.datasets else []))


def matrix(specs: Iterable[SubsetSpec]) -> Table:
    """Area × modality table of subset numbers with their tasks."""
    cells: dict[tuple[str, str], list[str]] = {}
    for spec in specs:
        cells.setdefault((spec.triplet.area, spec.triplet.modality), []).append(f"{spec.no} {spec.triplet.task}")
    areas = sorted({area for area, _ in cells})
    modalities = sorted({modality for _, modality in cells})
    table = Table(title="Subsets by area and modality", padding=0)
    for name in ("", *modalities):
        table.add_column(name, overflow="fold")
    for area in areas:
        table.add_row(area, *("\n".join(cells.get((area, modality), ())) for modality in modalities))
    return table


def show_corpus(corpus: Corpus, registry: Registry | None = None, cap: int = 3000) -> RenderableType:
    """Statistics of a corpus: images by subset and split, labels, balance, role measured and published, notes.

    Args:
        corpus: what was read.
        registry: gives the published roles; None: the column stays empty.
        cap: number of training images that makes a subset in-distribution.
    """
    by_subset: dict[str, dict[str, list[Record]]] = {}
    for split, records in corpus.splits.items():
        for record in records:
            by_subset.setdefault(record.subset, {}).setdefault(split, []).append(record)
    splits = list(corpus.splits)
    table = Table(title="Images by subset and split", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("subset", "triplet"):
        table.add_column(name, no_wrap=True)
    for name in (*splits, "labels", "balance"):
        table.add_column(name, justify="right")
    for name in (f"role at {cap}", "role in the paper"):
        table.add_column(name)
    for subset, used in sorted(by_subset.items()):
        first = next(iter(used.values()))[0]
        labels = {record.image_id: record.label for records in used.values() for record in records}
        sizes = {split: len({record.image_id for record in records}) for split, records in used.items()}
        number = int(subset[7:]) if subset.startswith("subset-") and subset[7:].isdigit() else -1
        role = (registry[number].role or "") if registry and number in registry else ""
        counts = Counter(labels.values())
        table.add_row(subset, str(first.triplet), *(str(sizes.get(split, 0)) for split in splits), str(len(counts)),
                      f"{evenness(counts.values()):.2f}", measured_role(sizes.get("train", 0), cap), role)  # fmt: skip
    total = [str(len({record.image_id for record in records})) for records in corpus.splits.values()]
    table.add_section()
    table.add_row("all", "", *total, "", "", "", "")
    notes = Table("images", "note", title="Notes")
    for note, count in corpus.notes.items():
        notes.add_row(str(count), note)
    return Group(table, *([notes] if corpus.notes else []))


def evenness(counts: Iterable[int]) -> float:
    """Normalised entropy of label counts: 1 for equal counts, 0 for a single label.

    Example:
        >>> evenness([5, 5]), evenness([7]), round(evenness([9, 1]), 2)
        (1.0, 0.0, 0.47)
    """
    positive = [count for count in counts if count]
    if len(positive) < 2:
        return 0.0
    total = sum(positive)
    return -sum(count / total * math.log(count / total) for count in positive) / math.log(len(positive))


def contact_sheet(corpus: Corpus, path: Path, columns: int = 8, side: int = 96, splits: Sequence[str] = ()) -> Path:
    """Write a picture with a row of images for each subset, labels in turn.

    Args:
        corpus: what to show.
        path: where to write; the suffix chooses the format.
        columns: images a row.
        side: pixels of an image.
        splits: splits to take images from; none: all.

    Returns:
        The path. The order of the rows is that of `show_corpus`.

    Raises:
        ValueError: if there are no images.
    """
    images: dict[str, dict[str, list[str]]] = {}
    for split in splits or corpus.splits:
        for record in corpus.splits[split]:
            known = images.setdefault(record.subset, {}).setdefault(record.label, [])
            if record.image not in known and len(known) < columns:
                known.append(record.image)
    if not images:
        raise ValueError(f"no images in {', '.join(splits or corpus.splits)}; choose splits that have some")
    sheet = PIL.Image.new("RGB", (columns * side, len(images) * side))
    for row, (_, by_label) in enumerate(sorted(images.items())):
        turns = [known[i] for i in range(columns) for _, known in sorted(by_label.items()) if i < len(known)]
        for column, image in enumerate(turns[:columns]):
            sheet.paste(PIL.Image.fromarray(corpus.load_image(image, side)), (column * side, row * side))
    sheet.save(path)
    return path
