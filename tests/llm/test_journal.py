import json

import pytest

from medgraph.config import ConfigError
from medgraph.llm.chat import Reply
from medgraph.llm.journal import Journal, call_key

REPLY = Reply("grün\n", "stop", "", 12, 3)


def test_answers_survive(file):
    with Journal(file) as journal:
        journal.add("a", "case 1", "m", REPLY)
        assert journal.get("a") == REPLY
    with Journal(file) as journal:
        assert (len(journal), journal.get("a"), journal.get("b")) == (1, REPLY, None)
    assert json.loads(file.read_text())["id"] == "case 1"


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_a_half_written_line_is_dropped_and_the_file_goes_on(file, keep):
    with Journal(file) as journal:
        journal.add("a", "1", "m", REPLY)
        journal.add("b", "2", "m", REPLY)
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    file.write_bytes(whole[: first + keep] if keep > 0 else whole[:keep])
    with Journal(file) as journal:
        assert (journal.get("a"), journal.get("b")) == (REPLY, None)
        journal.add("b", "2", "m", REPLY)
    assert file.read_bytes() == whole


def test_two_processes_never_share_a_journal(file):
    with Journal(file), pytest.raises(ConfigError, match="in use by another process"):
        Journal(file)
    Journal(file).close()


@pytest.mark.parametrize("line", ["nonsense", "3", '{"id": "1"}', '{"key": "a", "texts": 1}'])
def test_other_files_are_refused(file, line):
    with Journal(file) as journal:
        journal.add("a", "1", "m", REPLY)
    with file.open("a") as end:
        end.write(f"{line}\n")
    with pytest.raises(ConfigError, match="line 2: expected a recorded answer"):
        Journal(file)


def test_the_key_holds_everything_the_answer_depends_on():
    asked = ("1", [{"role": "user", "content": "?"}], {"model": "m", "temperature": 0})
    others = [("2", *asked[1:]), ("1", [{"role": "system", "content": "?"}], asked[2]), (*asked[:2], {"model": "m"})]
    assert call_key(*asked) == call_key(*asked)
    assert len({call_key(*asked), *(call_key(*other) for other in others)}) == 4
