from __future__ import annotations

from collections import defaultdict

from medgraph.cg.combinations import enumerate_combinations
from medgraph.cg.published import published_rows, rows_of
from medgraph.data.registry import builtin


def meanings(combinations, registry):
    """Combinations by the published row that they may be."""
    found = defaultdict(list)
    for combination in combinations:
        for row in rows_of(combination, registry):
            found[row.table, row.row].append(combination)
    return found


def test_every_published_row_is_among_the_combinations():
    registry = builtin()
    combinations = enumerate_combinations(registry)
    rows = published_rows()
    assert [(row.table, row.row) for row in rows] == [(3, i) for i in range(1, 44)] + [(10, i) for i in range(1, 10)]
    meant = meanings(combinations, registry)
    assert meant.keys() >= {(row.table, row.row) for row in rows}
    assert [c.related for c in meant[3, 1]] == [(3, 6)]
    assert [c.related for c in meant[10, 3]] == [(2, 22, 9)]


def test_ticks_of_the_paper():
    """Strictly above both controls; Table 3 has 37 ticks, Table 10 seven."""
    ticked = [(row.table, row.row) for row in published_rows() if row.ticked]
    assert [row for table, row in ticked if table == 3] == [
        row for row in range(1, 44) if row not in (4, 18, 22, 27, 38, 39)
    ]
    assert [row for table, row in ticked if table == 10] == [3, 4, 5, 6, 7, 8, 9]


def test_every_published_row_with_detection_subsets_is_found():
    """Table 13 and, with another model, Table 14; all ticked."""
    registry = builtin()
    combinations = enumerate_combinations(registry, detection=True)
    rows = published_rows((13, 14))
    assert [(row.table, row.row) for row in rows] == [(table, i) for table in (13, 14) for i in range(1, 9)]
    meant = meanings(combinations, registry)
    assert meant.keys() >= {(row.table, row.row) for row in rows}
    assert all(row.ticked for row in rows)
    assert [c.related for c in meant[13, 5]] == [(11, 45)]
    assert [c.related for c in meant[14, 8]] == [(42, 2)]
    assert {name for c in meant[13, 1] for name in c.shared_sources} == {"NLM-TB"}
    assert not any(row.table in (3, 10) for c in combinations for row in rows_of(c, registry))


def test_detection_targets_learn_to_localise_from_other_boxes():
    """Table 5: boxes on skin and classes of the intestine make boxes in the intestine, and the other way round."""
    registry = builtin()
    found = {(c.related, c.target): c for c in enumerate_combinations(registry, detection=True)}
    assert found[(13, 38), 39].views == ("diseases+detection->detection",)
    assert (7, 39) in {related for related, target in found if target == 38}
    for related, target in found:
        kinds = [registry[no].kind != "cls" for no in (target, *related)]
        assert any(kinds[1:]) if kinds[0] else any(kinds)
