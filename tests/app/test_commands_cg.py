from __future__ import annotations

import json

from typer.testing import CliRunner

from lightning_app.commands import app


def run(*arguments: str):
    return CliRunner().invoke(app, ["cg", "list", *arguments], env={"COLUMNS": "200"})


def test_combinations_of_a_target_as_json_and_as_a_table():
    found = json.loads(run("--target", "32", "--direction", "fixed_task", "--json").stdout)
    assert {(c["target"], c["direction"]) for c in found} == {(32, "fixed_task")}
    assert found[0].keys() >= {"related", "views", "coarse_leak", "shared_sources", "published"}
    assert "3.19" in {row for c in found for row in c["published"]}
    text = run("--target", "X-ray/Brain/cancer", "--direction", "fixed_task").stdout
    assert f"{len(found)} combinations for 1 targets: fixed_task {len(found)}" in text
    assert "T3.19" in text


def test_own_subsets_join(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("101: {triplet: MRI/Lung/state}\n102: {triplet: MRI/Brain/level}\n103: {triplet: CT/Brain/level}\n")
    found = json.loads(run("--registry", str(file), "--target", "103", "--json").stdout)
    assert any({102, 101} & set(c["related"]) for c in found)


def test_mistakes_are_one_line():
    for arguments, message in (
        (["--target", "99"], "unknown subset '99'"),
        (["--target", "FP/Fundus/diseases"], "does not name one subset"),
        (["--direction", "sideways"], "unknown direction 'sideways'"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.output
