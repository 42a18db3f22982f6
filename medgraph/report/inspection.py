"""What a model is fed, for the terminal and as a page; readable without colours as well."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment as Cell
from rich.style import Style
from rich.text import Text

from medgraph.data.records import Image
from medgraph.report.page import write_page

if TYPE_CHECKING:
    from medgraph.training.inspection import Inspection, Sample, Segment

COLUMNS = 40
"""Width of an image in the terminal."""
STYLES = {"text": "", "special": "dim", "image": "cyan", "supervised": "bold green"}
OPEN, CLOSE = "⟦", "⟧"
"""Around what is supervised, for readers without colours."""
SHADES = " .:-=+*#%@"
"""From dark to bright, for terminals without colours."""


class HalfBlocks:
    """An image of two pixels a character: the upper one in front of the lower one; shades where there is no colour.

    Args:
        image: (S, S, 3) uint8.
        columns: width in characters.
    """

    def __init__(self, image: Image, columns: int = COLUMNS) -> None:
        side = columns - columns % 2
        self.pixels = np.asarray(PIL.Image.fromarray(image).resize((side, side), PIL.Image.Resampling.BICUBIC))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Two rows of pixels a line."""
        for upper, lower in zip(self.pixels[::2], self.pixels[1::2], strict=True):
            if console.color_system is None:
                grey = (upper.mean(-1) + lower.mean(-1)) / 2
                yield Cell("".join(SHADES[int(value * len(SHADES) / 256)] for value in grey))
            else:
                for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
                    yield Cell("▀", Style.parse(f"rgb({above[0]},{above[1]},{above[2]}) on "
                                                f"rgb({below[0]},{below[1]},{below[2]})"))  # fmt: skip
            yield Cell.line()


def render_inspection(inspection: Inspection, ids: bool = False) -> Group:
    """Everything for the terminal.

    Args:
        inspection: what to show.
        ids: also show token ids.
    """
    legend = Text.assemble(
        "Legend: ", ("prompt", STYLES["text"]), " · ", ("special token", STYLES["special"]), " · ",
        ("<image>×places", STYLES["image"]), " · ", (f"{OPEN}supervised{CLOSE}", STYLES["supervised"]),
    )  # fmt: skip
    parts: list[RenderableType] = [Text(inspection.title, "bold"), legend]
    for sample in inspection.samples:
        parts += [Text(f"\n{sample.title}", "bold"), HalfBlocks(sample.image)]
        for name, segments in sample.sequences.items():
            parts += [Text(f"{name}: {_counts(segments)}", "underline"), _coloured(segments)]
            if ids:
                parts.append(Text(_ids(segments), "dim"))
        parts += [Text.assemble((f"{name}: ", "bold"), text) for name, text in _truths(sample)]
    return Group(*parts)


def write_inspection(inspection: Inspection, file: Path) -> Path:
    """The same with token ids as one self-contained page, images as PNG inside.

    Returns:
        The path.
    """
    samples = [
        {
            "title": sample.title,
            "image": _png(sample.image),
            "sequences": [
                (name, _counts(segments), [(s.kind, _marked(s)) for s in segments], _ids(segments))
                for name, segments in sample.sequences.items()
            ],
            "truths": _truths(sample),
        }
        for sample in inspection.samples
    ]
    values = {"kicker": "What the model is fed", "facts": [f"{len(samples)} samples"], "contents": []}
    return write_page(file, "inspection.html.j2", inspection.title, {**values, "samples": samples})


def _truths(sample: Sample) -> list[tuple[str, str]]:
    """What the data says about each record, whether it is fed or not."""
    return [
        (record.id, f"{record.answer_type}, answer {record.answer!r}, extended answer {record.extended!r}")
        for record in sample.records
    ]


def _counts(segments: list[Segment]) -> str:
    sizes = {kind: sum(len(s.ids) for s in segments if s.kind == kind) for kind in STYLES}
    return f"{sum(sizes.values())} tokens, {sizes['image']} of the image, {sizes['supervised']} supervised"


def _ids(segments: list[Segment]) -> str:
    return " ".join(str(token) for segment in segments for token in segment.ids)


def _coloured(segments: list[Segment]) -> Text:
    return Text.assemble(*((_marked(segment), STYLES[segment.kind]) for segment in segments))


def _marked(segment: Segment) -> str:
    if segment.kind == "image":
        return f"{segment.text}×{len(segment.ids)}"
    return f"{OPEN}{segment.text}{CLOSE}" if segment.kind == "supervised" else segment.text


def _png(image: Image) -> str:
    content = io.BytesIO()
    PIL.Image.fromarray(image).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
