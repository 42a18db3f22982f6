from __future__ import annotations

import json

from typer.testing import CliRunner

from lightning_app.commands import app


def run(*arguments: str, command: str = "list"):
    return CliRunner().invoke(app, ["cg", command, *arguments], env={"COLUMNS": "200"})


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


def test_pairs_with_detection_subsets():
    found = json.loads(run("--detection", "--target", "30", "--paper", "--json").stdout)
    assert {row for c in found for row in c["published"]} == {"13.1", "13.2", "14.1", "14.2"}


def test_suggestions_as_a_table_and_as_json():
    text = run("--target", "32", "--top", "3", command="suggest").stdout
    assert "No finished run: the order is by shared elements only" in text
    assert "subset-06 CT/Brain/cancer" in text
    found = json.loads(run("--target", "X-ray/Brain/cancer", "--top", "3", "--json", command="suggest").stdout)
    assert (found["target"], len(found["single"]), len(found["together"])) == ("subset-32", 3, 3)
    assert found["together"][0]["published"]


def test_mistakes_of_suggestions_are_one_line(tmp_path):
    for arguments, message in (
        (["--target", "99"], "unknown subset '99'"),
        (["--target", "FP/Fundus/diseases"], "does not name one subset"),
        (["--target", "32", "--pick", "7"], "pick=7: expected 2 to 3"),
        (["--target", "32", "--from", str(tmp_path)], "has no plan.json"),
        (["--target", "32", "data=phantom", "seed=1"], "seed=1: nothing trains here"),
        (["--target", "32", "data=mixture", "data.sources=[medmat]"], "expected a list of sources"),
    ):
        result = run(*arguments, command="suggest")
        assert result.exit_code == 2
        assert message in result.output
