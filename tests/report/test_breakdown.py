import csv
import re

import pytest
from typer.testing import CliRunner

from lightning_app.commands import app
from medgraph.evaluation.results import Results
from medgraph.report.breakdown import ATTRIBUTES, run_tables
from medgraph.report.tables import write_tables


@pytest.fixture(scope="module")
def tables(run_dir):
    return {table.name: table for table in run_tables(Results.load(run_dir / "results.json"), "a_run")}


def test_every_attribute_has_a_table_with_a_row_a_split_and_value(tables, run_dir):
    results = Results.load(run_dir / "results.json")
    assert set(tables) == {"overall", "protocols", "robustness", *(f"by_{name}" for name in ATTRIBUTES)}
    for name in ATTRIBUTES:
        rows = tables[f"by_{name}"].rows
        assert [row[1] for row in rows] == [v for split in results.splits for v in results.get(split).tables[name]]
        questions = sum(int(row[2].replace(",", "")) for row in rows)
        assert questions == sum(results.get(split).overall.n for split in results.splits)
    model, blind = tables["overall"].rows[:2]
    assert (model[:2], blind[1]) == (("In distribution", "model"), "without the image")
    assert blind[10].startswith("+"), "the model is ahead of itself without the image"


def test_rows_are_as_wide_as_their_header_and_captions_say_what_was_measured(tables):
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.header)}
        sizes = () if table.name == "robustness" else ("n = 160 questions on 40 images", "Unseen combinations")
        for said in ("protocol", "95 % intervals", *sizes):  # rows of shifts have sizes of their own
            assert said in table.caption


def test_files_hold_the_same_cells_in_every_format(tables, tmp_path):
    written = write_tables(tmp_path / "tables", list(tables.values()))
    assert len(written) == 3 * len(tables)
    table = tables["by_modality"]
    lines = (tmp_path / "tables/by_modality.csv").read_text().splitlines()
    assert [tuple(row) for row in csv.reader(lines[1:])] == [tuple(table.header), *table.rows]
    latex = (tmp_path / "tables/by_modality.tex").read_text()
    assert r"\caption{a\_run: accuracy by modality, strict protocol" in latex


def test_the_command_prints_them_or_writes_the_pages(run_dir):
    call = CliRunner().invoke
    for name, start in (("csv", "# exgra_10pct: model"), ("md", "exgra_10pct: model"), ("latex", r"\begin{table}")):
        result = call(app, ["report", str(run_dir), "--tables", name])
        assert result.exit_code == 0
        assert result.output.startswith(start)
        assert result.output.count("accuracy by") == len(ATTRIBUTES)
    result = call(app, ["report", str(run_dir), "--tables", "docx"])
    assert (result.exit_code, "expected one of csv, md, latex" in result.stderr) == (2, True)


def test_every_protocol_has_a_row(tables, run_dir):
    results = Results.load(run_dir / "results.json")
    table = tables["protocols"]
    assert [row[1] for row in table.rows] == [result.protocol for result in results.protocols]
    strict = dict(zip(table.header, table.rows[0], strict=True))
    accuracy = 100 * results.get("test").overall.accuracy
    assert strict["all, %"].startswith(f"{accuracy:.1f}")


def test_latex_is_balanced_and_escaped(tables, tmp_path):
    """What a compiler would refuse: environments left open, bare special characters, rows of unequal width."""
    for path in write_tables(tmp_path, list(tables.values())):
        if path.suffix != ".tex":
            continue
        text = path.read_text()
        stack = []
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
            if kind == "begin":
                stack.append(name)
            else:
                assert stack.pop() == name
        assert not stack
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert not re.search(r"(?<!\\)[%#$_^~](?![<>\-\\])", re.sub(r"\$[^$]+\$", "", text)), path.name
        columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
        assert text.isascii() or not set(re.findall(r"[^\x00-\x7f]", text)) - {"ä", "ö", "ü", "é"}, path.name
