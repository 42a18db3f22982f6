from __future__ import annotations

import json
from pathlib import Path

import pytest

QUESTIONS = [
    {"question_id": i, "image": f"{i}.jpg", "text": f"Question {i}?", "gpt4_answer": "a large mass",
     "fig_caption": "A scan.", "type": "conversation", "domain": {"mri": True}}
    for i in range(3)
]  # fmt: skip


@pytest.fixture
def chat(tmp_path) -> list[Path | str]:
    """Arguments for three answers with their questions."""
    answers = [{"question_id": i, "text": text} for i, text in enumerate(["a large mass", "mass", "nothing"])]
    for name, lines in (("a.jsonl", answers), ("q.jsonl", QUESTIONS)):
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return [tmp_path / "a.jsonl", "--questions", tmp_path / "q.jsonl"]


def test_the_rule_needs_nobody(medgraph, chat, tmp_path):
    code, out, err = medgraph("judge", *chat, "--out", tmp_path / "ratings.jsonl")
    assert (code, err) == (0, "")
    assert "both_orders, judged by rule" in out
    assert "3 of 3" in out
    rows = [json.loads(line) for line in (tmp_path / "ratings.jsonl").read_text().splitlines()]
    assert [row["ratings"][0][1] for row in rows] == [10, pytest.approx(7), 1]


def test_a_server_judges_two_chatbots(medgraph, chat, tmp_path, chat_server):
    pytest.importorskip("openai", reason="needs the extra llm")
    other = tmp_path / "b.jsonl"
    other.write_text((tmp_path / "a.jsonl").read_text().replace("nothing", "unclear"))
    chat_server.answer = lambda request: "no idea" if "unclear" in request["messages"][1]["content"] else "8 6\nFine."
    command = ["judge", other, *chat, "--protocol", "llava_med_chat", "--with", "api", "--model", "m"]
    dry = medgraph(*command, "--dry-run")[1]
    assert dry.count("3 calls to m, 0 are recorded") == 2
    assert chat_server.requests == []
    code, out, err = medgraph(*command, "--price-in", "10", "--json")
    first, second = json.loads(out)
    assert (code, first["groups"]["overall"]["score"], second["groups"]["mri"]["score"]) == (0, 75, 75)
    assert (first["failures"], second["failures"]) == ({"invalid": 1}, {})
    assert err.count("cost 0.00") == 2
    assert chat_server.requests[0]["temperature"] == 0
    asked = len(chat_server.requests)
    out = medgraph(*command)[1]
    assert len(chat_server.requests) == asked
    assert "+0.0 points against the first chatbot, 95 % interval +0.0 to +0.0, on 2 questions rated for both" in out
    assert "1 of 3 questions have no rating (1 invalid) and are left out" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "x"], "unknown judge protocol 'x'; known: both_orders, llava_med_chat"),
        (["--with", "api"], "--with api needs --model"),
    ],
)
def test_mistakes(medgraph, chat, options, message):
    code, out, err = medgraph("judge", *chat, *options)
    assert (code, out) == (2, "")
    assert message in err
