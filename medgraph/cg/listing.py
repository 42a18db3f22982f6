"""What ``medgraph cg list`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from medgraph.cg.combinations import Combination
from medgraph.cg.published import rows_of
from medgraph.data.registry import Registry


def table_of(combinations: Sequence[Combination], registry: Registry) -> RenderableType:
    """One row a combination, then how many there are by direction."""
    table = Table(title="Combinations", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("direction", "target", "related", "tasks compared", "published row", "mind"):
        table.add_column(name, no_wrap=name == "direction", overflow="fold")
    for combination in combinations:
        target = registry[combination.target]
        rows = ", ".join(f"T{row.table}.{row.row}" for row in rows_of(combination, registry))
        flags = [
            *(["seen at parent level"] if combination.coarse_leak else []),
            *(f"shares {name}" for name in combination.shared_sources),
        ]
        table.add_row(
            combination.direction,
            f"{target.no:02d} {target.triplet}",
            " + ".join(f"{no:02d} {registry[no].triplet}" for no in combination.related),
            "; ".join(combination.views),
            rows,
            ", ".join(flags),
        )
    counts = Counter(combination.direction for combination in combinations)
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    targets = len({combination.target for combination in combinations})
    return Group(table, f"{len(combinations)} combinations for {targets} targets: {listed or 'none'}")
