"""Notebooks run from top to bottom; they are stored without outputs and listed on a page."""

import csv
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_the_page_lists_every_notebook():
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]


def test_published_ablations_are_arms_of_ours():
    with (ROOT / "experiments" / "reference" / "exgra_ablations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    arms = {arm.name for arm in runpy.run_path(str(ROOT / "experiments" / "ablations.py"))["plan"]().arms}
    assert {row["arm"] for row in rows} <= arms
    assert all(50 < float(row[name]) < 100 for row in rows for name in ("vqa_rad", "slake"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parents[1])}}).execute()
