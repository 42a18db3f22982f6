"""Draw the pictures of docs/concepts with MedGraph's own functions: `python docs/theme/drawings.py`.

SVG with text as text, in the colours of the page it is in; alone it follows the reader's light or dark theme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "concepts"
STYLE = """
.drawing { color: #24292f; --blue: #0072b2; max-width: 100%; height: auto; font: 15px sans-serif }
@media (prefers-color-scheme: dark) { .drawing { color: #e0e0e0; --blue: #56b4e9 } }
.drawing text { fill: currentColor; text-anchor: middle }
.drawing .small { font-size: 13px }
.drawing .line { stroke: currentColor; stroke-opacity: .45; fill: none }
.drawing .strong { stroke-width: 2 }
.drawing .blue { --c: var(--blue) } .drawing .orange { --c: #d55e00 } .drawing .green { --c: #009e73 }
.drawing .dot { fill: var(--c, currentColor) } .drawing .curve { stroke: var(--c); stroke-width: 2; fill: none }
.drawing .box { fill: var(--c, currentColor); fill-opacity: .12; stroke: var(--c, currentColor) }
"""


class Drawing:
    """An SVG that grows element by element."""

    def __init__(self, width: int, height: int) -> None:
        self.head = f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {width} {height}">'
        self.head = self.head.replace("viewBox", f'width="{width}" viewBox')
        self.parts: list[str] = []

    def line(self, points: Iterable[tuple[float, float]], kind: str = "line") -> None:
        """Join points."""
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        self.parts.append(f'<polyline class="{kind}" points="{path}"/>')

    def dot(self, x: float, y: float, kind: str = "", radius: int = 5) -> None:
        """Put a node."""
        self.parts.append(f'<circle class="dot {kind}" cx="{x:.0f}" cy="{y:.0f}" r="{radius}"/>')

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Write a line, centred."""
        self.parts.append(f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, text: str, kind: str = "") -> None:
        """Frame a word; (x, y) is its centre."""
        place = f'x="{x - width / 2:.0f}" y="{y - 15:.0f}" width="{width:.0f}"'
        self.parts.append(f'<rect class="box {kind}" {place} height="30" rx="5"/>')
        self.text(x, y + 5, text)

    def __str__(self) -> str:
        return "\n".join([self.head, f"<style>{STYLE}</style>", *self.parts, "</svg>\n"])


def triplets() -> Drawing:
    """A target and two subsets that recombine to it, from the registry."""
    from medgraph.cg.combinations import enumerate_combinations
    from medgraph.data.registry import builtin

    registry = builtin()
    found = next(c for c in enumerate_combinations(registry, ["fixed_task"]) if c.target == 32)
    rows = [("related", registry[found.related[0]]), ("target", registry[32]), ("related", registry[found.related[1]])]
    drawing = Drawing(560, 230)
    for x, element in zip((170, 310, 460), ("modality", "area", "task"), strict=True):
        drawing.text(x, 20, element, "small")
    target = words(rows[1][1])
    for row, (role, spec) in enumerate(rows):
        y = 55 + 70 * row
        drawing.text(60, y, role)
        drawing.text(60, y + 16, f"subset {spec.key.removeprefix('subset-')}", "small")
        for x, word, wanted in zip((170, 310, 460), words(spec), target, strict=True):
            drawing.box(x, y, 116, word, "green" if role == "target" else "blue" if word == wanted else "")
            if role == "related" and word == wanted:
                drawing.line([(x, y + (15 if row == 0 else -15)), (x, y + (55 if row == 0 else -55))], "curve blue")
    return drawing


def words(spec: object) -> tuple[str, str, str]:
    """Modality, area and task of a subset; COVID and cancer diagnoses are states, as in the paper."""
    from medgraph.cg.combinations import coarse

    triplet = coarse(spec.triplet)  # type: ignore[attr-defined]
    return triplet.modality, triplet.area, triplet.task


def graphs() -> Drawing:
    """Two views of the same samples, each with its own neighbours."""
    from medgraph.alignment.graph import knn

    noise = torch.Generator().manual_seed(5)
    image = torch.rand(9, 2, generator=noise)
    text = (image + 0.16 * torch.randn(9, 2, generator=noise)).clamp(0, 1)
    drawing = Drawing(560, 250)
    for left, kind, name, nodes in ((30, "blue", "images", image), (310, "orange", "answers", text)):
        points = place(nodes, left, 40, 220, 180)
        for node, neighbours in enumerate(knn(nodes[None], 2)[0].tolist()):
            for other in neighbours:
                drawing.line([points[node], points[other]])
        for number, point in enumerate(points, 1):
            drawing.dot(*point, kind, 6)
            drawing.text(point[0], point[1] - 10, str(number), "small")
        drawing.text(left + 110, 18, name)
    return drawing


def barycenter() -> Drawing:
    """Images matched to the mean of three unrelated views, with and without themselves in it."""
    from medgraph.alignment.graph import barycenter as mean_of_all
    from medgraph.alignment.graph import leave_one_out, standardize
    from medgraph.alignment.matching import MatchingProblem, solve

    size = 16
    views = standardize(torch.randn(3, size, 64, generator=torch.Generator().manual_seed(0)))
    drawing = Drawing(560, 270)
    targets = (("mean of all views", mean_of_all(views)), ("mean of the other views", leave_one_out(views)))
    for left, (name, target) in zip((40, 310), targets, strict=True):
        matching = solve(MatchingProblem(-views[:1] @ standardize(target[:1]).mT))[0].tolist()
        corners = ((left, 30), (left + 200, 30), (left + 200, 230), (left, 230), (left, 30))
        drawing.line(corners)
        for image, match in enumerate(matching):
            x, y = left + 200 * (match + 0.5) / size, 30 + 200 * (image + 0.5) / size
            drawing.dot(x, y, "blue" if match == image else "orange", 5)
        right = sum(match == image for image, match in enumerate(matching))
        drawing.text(left + 100, 20, name)
        drawing.text(left + 100, 252, f"{right} of {size} images matched to their own", "small")
    drawing.parts.append('<text class="small" transform="translate(24 130) rotate(-90)">images</text>')
    return drawing


def imle() -> Drawing:
    """The Hamming loss of one problem over one cost: a step, and its mean over noise."""
    from medgraph.alignment.gradients import gumbel, perturb
    from medgraph.alignment.losses import hamming
    from medgraph.alignment.matching import MatchingProblem, solve

    size, steps, samples = 4, 61, 400
    noise = torch.Generator().manual_seed(0)
    costs = 0.6 * torch.randn(size, size, generator=noise)
    draws = 0.5 * gumbel((samples, 1, size, size), noise)
    right = torch.eye(size, dtype=torch.bool)[None]
    shifts = torch.linspace(-3, 3, steps)

    def mean_loss(shift: Tensor, draws: Tensor) -> float:
        problem = MatchingProblem((costs - shift * torch.eye(size))[None])
        return hamming(solve(perturb(problem, draws))[:, None], right).mean().item()

    drawing = Drawing(560, 260)
    for kind, values in (
        ("orange", [mean_loss(shift, torch.zeros(1, 1, size, size)) for shift in shifts]),
        ("blue", [mean_loss(shift, draws) for shift in shifts]),
    ):
        drawing.line([(60 + 440 * i / (steps - 1), 210 - 85 * loss) for i, loss in enumerate(values)], f"curve {kind}")
    drawing.line([(60, 30), (60, 210), (500, 210)], "line strong")
    drawing.text(280, 235, "how much cheaper the right matches are")
    drawing.text(70, 20, "mistakes")
    for x, kind, name in ((350, "orange", "one solve: no slope"), (350, "blue", "mean over noise")):
        y = 45 if kind == "orange" else 68
        drawing.line([(x - 20, y - 4), (x + 10, y - 4)], f"curve {kind}")
        drawing.text(x + 80, y, name, "small")
    return drawing


def place(nodes: Tensor, left: float, top: float, width: float, height: float) -> list[tuple[float, float]]:
    """Stretch (N, 2) to a rectangle of the page."""
    unit = (nodes - nodes.amin(0)) / (nodes.amax(0) - nodes.amin(0))
    return [(left + width * x, top + height * y) for x, y in unit.tolist()]


DRAWINGS: tuple[Callable[[], Drawing], ...] = (triplets, graphs, barycenter, imle)


def main() -> None:
    """Write all of them."""
    for draw in DRAWINGS:
        (FOLDER / f"{draw.__name__}.svg").write_text(str(draw()), encoding="utf-8")


if __name__ == "__main__":
    main()
