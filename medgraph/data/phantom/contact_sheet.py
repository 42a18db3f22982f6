"""One picture of the whole phantom: modalities down, anatomical areas across, a finding in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from medgraph.data.phantom.factors import AREAS, FINDINGS, MODALITIES
from medgraph.data.records import Corpus, MATTriplet, Record

PAPER, INK, FAINT, ACCENT = "#0f1419", "#e8edf2", "#8b98a5", "#f5a524"
LEGEND = (
    "SYNTHETIC: drawn by a program. No patients, no clinical use.",
    "Many combinations are impossible in medicine, on purpose.",
)


def contact_sheet(corpus: Corpus, path: str | Path, side: int = 128) -> None:
    """Write a PNG with one image for every modality and area in use; findings run along the diagonals.

    Combinations that are held out of training are framed.

    Args:
        corpus: from `build_phantom`.
        path: file to write; missing folders are made.
        side: edge of one image in pixels, at least 32.
    """
    images = {record.triplet: record for split in corpus.splits.values() for record in reversed(split)}
    held_out = {record.triplet for record in corpus.splits["ood"]}
    modalities = [name for name in MODALITIES if any(name == triplet.modality for triplet in images)]
    areas = [name for name in AREAS if any(name == triplet.area for triplet in images)]
    findings = [name for name in FINDINGS if any(name == triplet.task for triplet in images)]

    gap, caption = max(2, side // 16), round(side * 0.19)
    left, top, foot = round(side * 0.95), round(side * 0.95), round(side * 0.62)
    width = max(left + len(areas) * (side + gap) + gap, 4 * side)
    height = top + len(modalities) * (side + caption + gap) + foot
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    small, medium, large = (ImageFont.load_default(side * share) for share in (0.105, 0.125, 0.25))

    draw.text((gap * 2, gap * 1.5), "MedGraph phantom", INK, large)
    count = f"{len(modalities)} modalities, {len(areas)} areas, {len(findings)} findings"
    draw.text((gap * 2, top * 0.42), f"{count} · framed: held out of training", FAINT, medium)
    for column, area in enumerate(areas):
        draw.text((left + column * (side + gap) + side / 2, top - gap), area, INK, medium, anchor="md")
    for row, modality in enumerate(modalities):
        y = top + row * (side + caption + gap)
        draw.text((left - gap, y + side / 2), modality, INK, medium, anchor="rm")
        for column, area in enumerate(areas):
            x = left + column * (side + gap)
            record = _choose(images, modality, area, findings, start=row + column)
            if record is None:
                continue
            sheet.paste(Image.fromarray(corpus.load_image(record.image, side)), (x, y))
            unseen = record.triplet in held_out
            if unseen:
                draw.rectangle((x - 2, y - 2, x + side + 1, y + side + 1), outline=ACCENT, width=2)
            draw.text(
                (x + side / 2, y + side + caption / 2), record.label, ACCENT if unseen else FAINT, small, anchor="mm"
            )
    for line, text in enumerate(LEGEND):
        draw.text((gap * 2, height - foot + gap + line * side * 0.19), text, ACCENT if line == 0 else FAINT, medium)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _choose(
    images: dict[MATTriplet, Record], modality: str, area: str, findings: Sequence[str], start: int
) -> Record | None:
    """The image with finding number ``start`` (modulo), or the next finding that this modality and area have."""
    for step in range(len(findings)):
        record = images.get(MATTriplet(modality, area, findings[(start + step) % len(findings)]))
        if record:
            return record
    return None
