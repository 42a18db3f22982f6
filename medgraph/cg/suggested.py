"""What ``medgraph cg suggest`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.cg.contributions import Estimate
from medgraph.cg.published import published_rows
from medgraph.cg.suggest import Advice, Suggestion


def table_of(advice: Advice) -> RenderableType:
    """Subsets and sets of them, best first, what the numbers rest on, and what was left out and why."""
    contributions = _table("contribution", "points")
    for name, estimate in advice.contributions.items():
        contributions.add_row(name, _points(estimate))
    content: list[RenderableType] = [
        Text(f"Expected gain of {advice.target} ({advice.triplet}) over the untrained model: points, 95 % intervals"),
        Text(basis(advice)),
        _suggestions(advice.single),
    ]
    if advice.together:
        firsts = " + ".join(key for one in advice.single[: len(advice.together[0].subsets)] for key in one.subsets)
        content += [Text(f"The first of these, {firsts}, {_covered(advice.missing)}. The best sets:"),
                    _suggestions(advice.together)]  # fmt: skip
    left_out = [*(f"{key} {why}" for key, why in advice.left_out.items()), f"{advice.unrelated} subsets share nothing"]
    return Group(*content, contributions, *(Text(f"left out: {line}") for line in left_out))


def basis(advice: Advice) -> str:
    """What the estimate rests on."""
    rows = f"{len(published_rows())} published rows (Med-MAT, Tables 3 and 10: 7B models, one run each, no intervals)"
    sizes = "" if advice.sized else " Sizes are unknown and taken as enough; name data for real ones."
    if advice.runs:
        return f"From {advice.runs} finished runs in {advice.arms} arms, and a prior from {rows}.{sizes}"
    known = "shared elements and size" if advice.sized else "shared elements"
    return f"No finished run: the order is by {known} only, the points are those of {rows}.{sizes}"


def _suggestions(found: Sequence[Suggestion]) -> Table:
    table = _table("train on", "gain", "shares", "images", "combination", "runs like it", "mind")
    for one in found:
        rows = f" ({' '.join(one.published)})" if one.published else ""
        measured = "" if one.measured is None else f", on this target {one.measured:+.1f}"
        table.add_row(
            "\n".join(key if key == triplet else f"{key} {triplet}"
                      for key, triplet in zip(one.subsets, one.triplets, strict=True)),
            _points(one.expected),
            "\n".join(", ".join(shared) for shared in one.shared),
            "\n".join(map(str, one.images or ())),
            Text(", ".join(one.directions) + rows),
            f"{one.runs}{measured}",
            Text("; ".join([*([_covered(one.missing)] if len(one.subsets) > 1 else []), *one.mind])),
        )  # fmt: skip
    return table


def _covered(missing: Sequence[str]) -> str:
    atoms = [name for name in missing if "+" not in name]
    if atoms:
        return f"leave the target without its {' and '.join(atoms)}"
    return f"cover all elements, not {', '.join(missing)}" if missing else "cover all elements and pairs of them"


def _points(estimate: Estimate) -> str:
    return f"{estimate.mean:+.1f} [{estimate.low:+.0f}, {estimate.high:+.0f}]"


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=name in ("gain", "shares", "points"), overflow="fold")
    return table
