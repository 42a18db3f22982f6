import json

import pytest

STEPS = '{"stage": "stage1", "stage_step": 7, "step": 7}\n'


@pytest.fixture
def folder(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"name: x\nseed: {seed}\n")
        (tmp_path / name / "metrics.jsonl").write_text(STEPS)
    (tmp_path / "b" / "results.json").write_text("{")
    return tmp_path


def test_list_is_what_happens_without_a_command(medgraph, folder):
    code, out, err = medgraph("runs", folder)
    assert (code, err) == (0, "")
    assert "2 runs: 1 interrupted, 1 broken" in out
    assert "b: results.json: Expecting property name" in out
    assert medgraph("runs", "list", folder)[1] == out


def test_filter_sort_and_json(medgraph, folder):
    out = medgraph("runs", folder, "--sort", "seed", "--reverse", "--json")[1]
    assert [(run["seed"], run["steps"]) for run in json.loads(out)] == [(1, 7), (0, 7)]
    out = medgraph("runs", folder, "--where", "seed=0", "--state", "interrupted", "--json")[1]
    assert [run["folder"] for run in json.loads(out)] == [str(folder / "a")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "medgraph: error: nothing: no such folder\n"),
        ([".", "--state", "done"], "medgraph: error: --state done: expected one of finished, running, interrupted, "),
        (["compare", "."], "medgraph: error: runs compare needs at least two runs, got 1\n"),
    ],
)
def test_mistakes_are_one_line(medgraph, arguments, message):
    code, out, err = medgraph("runs", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)


def test_compare(medgraph, folder):
    code, out, _ = medgraph("runs", "compare", folder / "a", folder / "b")
    assert code == 0
    assert "seed" in out
    content = json.loads(medgraph("runs", "compare", folder / "a", folder / "b", "--json")[1])
    assert content["config"] == {"seed": [0, 1]}


def test_shells_complete_commands(medgraph, monkeypatch):
    for words, number, expected in (("medgraph ru", 1, ["run", "runs"]), ("medgraph runs co", 2, ["compare"])):
        monkeypatch.setenv("_MEDGRAPH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(number))
        assert medgraph()[1].split() == expected
