from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from medgraph.llm import local
from medgraph.llm.chat import Reply

pytest.importorskip("openai", reason="needs the extra llm")

NUM = 6


@pytest.fixture
def source(tmp_path) -> Path:
    """A conversation file with its images in place."""
    records = []
    for i in range(NUM):
        (tmp_path / f"{i}.jpg").write_bytes(b"not looked at")
        turns = [{"from": "human", "value": f"<image>\nQuestion {i}?"}, {"from": "gpt", "value": f"answer {i}"}]
        records.append({"id": f"case {i}", "image": f"{i}.jpg", "conversations": turns})
    (tmp_path / "in.json").write_text(json.dumps(records))
    return tmp_path / "in.json"


def lengthen(request: dict) -> str:
    """What a good model says."""
    questions = json.loads(request["messages"][1]["content"])["questions"]
    return json.dumps({"answers": [f"The long {q['short answer']}" for q in questions]})


def question_of(request: dict) -> str:
    return json.loads(request["messages"][1]["content"])["questions"][0]["question"]


def long_answers(file: Path) -> list[str | None]:
    return [raw["conversations_long"][1]["value"] if "conversations_long" in raw else None
            for raw in json.loads(file.read_text())]  # fmt: skip


def test_templates_need_nobody(medgraph, source, tmp_path):
    code, out, err = medgraph("extend", source, "--out", tmp_path / "out.json")
    assert (code, err) == (0, "")
    assert f"{NUM} conversations, {NUM} of them with long answers" in out
    assert f"data=conversations data.root={tmp_path / 'out.json'} data.images={tmp_path}" in out
    assert all(f"answer {i}" in text for i, text in enumerate(long_answers(tmp_path / "out.json")))


def test_the_written_file_is_data_like_any_other(medgraph, source, tmp_path):
    medgraph("extend", source, "--out", tmp_path / "out.json")
    from lightning_app.sources import open_source

    splits = open_source(tmp_path / "out.json").corpus.splits
    assert {r.extended for records in splits.values() for r in records} == set(long_answers(tmp_path / "out.json"))


def test_a_server_with_every_fault(medgraph, source, tmp_path, chat_server):
    seen = Counter()

    def answer(request):
        question = question_of(request)
        seen[question] += 1
        if question == "Question 1?":
            return "I'm sorry, I can't describe medical images."
        if question == "Question 2?" and seen[question] == 1:
            return "Sure! Here it is"
        if question == "Question 3?" and seen[question] == 1:
            return 429, {"error": {"message": "slow down"}}, {"Retry-After": "0.1"}
        if question == "Question 4?":
            return 400, {"error": {"message": "content filter"}}, {}
        return lengthen(request)

    chat_server.answer = answer
    command = ["extend", source, "--out", tmp_path / "out.json", "--with", "api", "--model", "m"]
    code, out, err = medgraph(*command, "--price-in", "10", "--price-out", "100", "--workers", "2")
    assert (code, err) == (0, "")
    found = long_answers(tmp_path / "out.json")
    assert found == ["The long answer 0", None, "The long answer 2", "The long answer 3", None, "The long answer 5"]
    assert "1 replies could not be used" in out
    assert "without long answers: " in out
    assert "6 calls, 0 answers from the journal; 600 tokens read, 60 written; cost 0.0120" in out
    problems = [json.loads(line) for line in (tmp_path / "out.problems.jsonl").read_text().splitlines()]
    assert {p["id"]: p["kind"] for p in problems} == {"case 1": "refused", "case 4": "rejected"}
    asked = len(chat_server.requests)
    out = medgraph(*command)[1]
    assert "0 calls, 6 answers from the journal" in out
    assert len(chat_server.requests) == asked + 1, "only the rejected request, which nobody paid for"


def test_a_dry_run_calls_nobody_and_needs_no_key(medgraph, source, tmp_path, chat_server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    command = ["extend", source, "--out", tmp_path / "out.json", "--with", "api", "--model", "m", "--dry-run"]
    code, out, _ = medgraph(*command, "--price-in", "1000000", "--limit", "3")
    assert code == 0
    assert out.startswith("3 calls to m, 0 are recorded\nabout ")
    tokens = int(out.split("about ")[1].split(" tokens")[0].replace(",", ""))
    assert f"cost {tokens}.0000" in out
    assert chat_server.requests == []
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_a_dead_server_ends_the_job_and_the_same_command_continues(medgraph, source, tmp_path, chat_server):
    def answer(request):
        dead = len(chat_server.requests) > 3
        return (401, {"error": {"message": "no credit"}}, {}) if dead else lengthen(request)

    chat_server.answer = answer
    command = ["extend", source, "--out", tmp_path / "out.json", "--with", "api", "--model", "m", "--workers", "1"]
    code, out, err = medgraph(*command)
    assert (code, out) == (1, "")
    assert "HTTP 401" in err
    assert "out.journal.jsonl keeps every answer; continue with: " in err
    assert not (tmp_path / "out.json").exists()
    chat_server.answer = lengthen
    out = medgraph(*command)[1]
    assert "3 calls, 3 answers from the journal" in out
    assert None not in long_answers(tmp_path / "out.json")


def test_ctrl_c_says_how_to_go_on(medgraph, source, tmp_path, chat_server, monkeypatch):
    from medgraph.data.extend import job

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "ask_all", interrupted)
    code, _, err = medgraph("extend", source, "--out", tmp_path / "out.json", "--with", "api", "--model", "m")
    assert code == 130
    assert "interrupted" in err
    assert "keeps every answer; continue with: " in err


def test_a_local_model(medgraph, source, tmp_path, monkeypatch):
    class Local:
        def __init__(self, model: str, max_tokens: int) -> None:
            self.settings = {"model": model, "max_tokens": max_tokens}

        def __call__(self, messages):
            return Reply(lengthen({"messages": messages}))

    monkeypatch.setattr(local, "LocalChat", Local)
    command = ["extend", source, "--out", tmp_path / "out.json", "--with", "local", "--model", "/models/x"]
    code, out, _ = medgraph(*command, "--max-tokens", "99")
    assert code == 0
    assert "6 calls" in out
    assert None not in long_answers(tmp_path / "out.json")


def test_without_the_extra(medgraph, source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    code, _, err = medgraph("extend", source, "--out", tmp_path / "out.json", "--with", "api", "--model", "m")
    assert code == 2
    assert "pip install 'medgraph[llm]'" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--with", "api"], "--with api needs --model"),
        (["--reader", "nix"], "--reader nix"),
    ],
)
def test_mistakes(medgraph, source, tmp_path, chat_server, options, message):
    code, _, err = medgraph("extend", source, "--out", tmp_path / "out.json", *options)
    assert code == 2
    assert message in err


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_job_continues_and_pays_nothing_twice(source, tmp_path, chat_server, how):
    answered = Counter()

    def answer(request):
        time.sleep(0.2)
        answered[question_of(request)] += 1
        return lengthen(request)

    chat_server.answer = answer
    out, journal = tmp_path / "out.json", tmp_path / "out.journal.jsonl"
    command = [sys.executable, "-m", "lightning_app", "extend", str(source), "--out", str(out), "--with", "api",
               "--model", "m", "--workers", "2"]  # fmt: skip
    job = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        time.sleep(0.01)
    job.send_signal(how)
    _, err = job.communicate(timeout=60)
    recorded = {
        json.loads(line)["id"] for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
    }
    assert 2 <= len(recorded) < NUM
    assert not out.exists()
    if how == signal.SIGINT:
        assert job.returncode == 130
        assert "keeps every answer; continue with: " in err
        assert len(recorded) == sum(answered.values()), "what was under way was finished and recorded"
    before = Counter(answered)
    with journal.open("ab") as file:
        file.write(b'{"key": "half a li')
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert f"{NUM - len(recorded)} calls, {len(recorded)} answers from the journal" in done.stdout
    asked_again = {question for question in before if answered[question] > before[question]}
    assert not asked_again & {f"Question {name.split()[1]}?" for name in recorded}
    assert None not in long_answers(out)
