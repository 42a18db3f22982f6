from __future__ import annotations

from medgraph.cg.combinations import enumerate_combinations
from medgraph.cg.published import combinations_of, published_rows, rows_of
from medgraph.data.registry import builtin


def test_every_published_row_is_among_the_combinations():
    registry = builtin()
    combinations = enumerate_combinations(registry)
    rows = published_rows()
    assert [(row.table, row.row) for row in rows] == [(3, i) for i in range(1, 44)] + [(10, i) for i in range(1, 10)]
    meant = {(row.table, row.row): combinations_of(row, combinations, registry) for row in rows}
    assert all(meant.values())
    assert all(row in rows_of(combination, registry) for row in rows for combination in meant[row.table, row.row])
    assert [c.related for c in meant[3, 1]] == [(3, 6)]
    assert [c.related for c in meant[10, 3]] == [(2, 22, 9)]


def test_ticks_of_the_paper():
    """Strictly above both controls; Table 3 has 37 ticks, Table 10 seven."""
    ticked = [(row.table, row.row) for row in published_rows() if row.ticked]
    assert [row for table, row in ticked if table == 3] == [
        row for row in range(1, 44) if row not in (4, 18, 22, 27, 38, 39)
    ]
    assert [row for table, row in ticked if table == 10] == [3, 4, 5, 6, 7, 8, 9]
