import threading
import time
from contextlib import closing

import pytest

from medgraph.llm.ask import FAILURES_IN_A_ROW, Asker, Outcome, ask_all, read_object, refusal_of
from medgraph.llm.chat import CallError, RejectedError, Reply, StoppedError
from medgraph.llm.journal import Journal
from medgraph.llm.throttle import Throttle

ASKED = [{"role": "user", "content": "Say a number."}]


@pytest.fixture
def ask(scripted, file):
    """Ask a scripted model once, with the journal of the test."""

    def ask(*script, retries=2):
        model = scripted(*script)
        with Journal(file) as journal:
            asker = Asker(model, journal)
            return asker.ask_checked("1", ASKED, int, retries), asker.usage, model.asked

    return ask


def test_a_good_answer_costs_one_call_and_then_none(ask):
    outcome, usage, _ = ask("12")
    assert (outcome.kind, outcome.value, outcome.unusable) == ("answered", 12, 0)
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (1, 7, 3)
    outcome, usage, asked = ask()
    assert (outcome.value, usage.calls, usage.recalled, asked) == (12, 0, 1, [])


def test_a_bad_answer_is_asked_again_with_the_reason(ask):
    outcome, usage, asked = ask("twelve", "12")
    assert (outcome.value, outcome.unusable, usage.calls) == (12, 1, 2)
    assert [turn["role"] for turn in asked[1]] == ["user", "assistant", "user"]
    assert "invalid literal for int() with base 10: 'twelve'" in asked[1][2]["content"]
    outcome, usage, _ = ask()
    assert (outcome.value, outcome.unusable, usage.calls, usage.recalled) == (12, 1, 0, 2)


def test_the_budget_of_retries_is_not_renewed_by_a_restart(ask):
    outcome, usage, _ = ask("a", "b", retries=1)
    assert (outcome.kind, outcome.unusable, outcome.text, usage.calls) == ("invalid", 2, "b", 2)
    outcome, usage, _ = ask(retries=1)
    assert (outcome.kind, usage.calls) == ("invalid", 0)


def test_an_answer_cut_off_is_told_to_be_shorter(ask):
    _, _, asked = ask(Reply("1 2", "length"), "1")
    assert "cut off" in asked[1][-1]["content"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply("\nI’m sorry, I cannot say."),
        Reply("I can't assist with medical images."),
        Reply("", refusal="policy"),
        Reply("12", "content_filter"),
    ],
)
def test_a_refusal_is_not_asked_again(ask, reply):
    outcome, usage, _ = ask(reply)
    assert (outcome.kind, usage.calls) == ("refused", 1)
    assert outcome.reason


def test_a_rejected_request_is_an_outcome_and_asked_again_later(ask):
    assert ask(RejectedError("HTTP 400: too long"))[0] == Outcome("rejected", reason="HTTP 400: too long")
    assert ask("3")[0].value == 3


def test_a_failure_of_the_server_is_none(ask):
    with pytest.raises(CallError, match="no credit"):
        ask(CallError("no credit"))


@pytest.mark.parametrize("text", ["I canned it", '{"answers": ["sorry"]}', "It is unlikely"])
def test_not_a_refusal(text):
    assert refusal_of(Reply(text)) == ""


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not JSON"), ("[1]", "exactly the fields 'a'"), ('{"a": 1, "b": 2}', "exactly")]
)
def test_anything_but_the_object_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_object(text, "a")


def collect(tasks, work, workers=3):
    with closing(ask_all(tasks, work, workers, threading.Event())) as results:
        return dict(results)


def test_every_task_is_done_once():
    found = collect(range(50), lambda task: Outcome("answered", task * task))
    assert {task: outcome.value for task, outcome in found.items()} == {i: i * i for i in range(50)}
    assert collect([], lambda task: Outcome("answered")) == {}


def test_calls_run_at_the_same_time():
    together = threading.Barrier(3, timeout=5)
    collect(range(3), lambda task: Outcome("answered", together.wait()))


def test_an_error_in_a_thread_ends_the_job():
    def work(task):
        if task == 3:
            raise CallError("no credit")
        return Outcome("answered")

    with pytest.raises(CallError, match="no credit"):
        collect(range(1000), work)


def test_a_job_in_which_everything_is_rejected_stops():
    done = []

    def work(task):
        done.append(task)
        time.sleep(0.001)
        return Outcome("rejected", reason="HTTP 400: no such field")

    with pytest.raises(CallError, match="10 requests in a row were rejected, the last one: HTTP 400"):
        collect(range(1000), work, workers=1)
    assert FAILURES_IN_A_ROW <= len(done) < 1000


def test_what_is_under_way_is_finished_when_the_job_is_interrupted():
    stop, finished = threading.Event(), []

    def work(task):
        if task:
            stop.wait(5)
            finished.append(task)
        return Outcome("answered", task)

    with closing(ask_all(range(100), work, 3, stop)) as results:
        next(results)
    assert 1 <= len(finished) <= 3


def test_requests_are_spread_over_the_minute():
    throttle = Throttle(per_minute=60 / 0.02)
    start = time.monotonic()
    for _ in range(5):
        throttle.wait()
    assert time.monotonic() - start >= 0.08


def test_a_pause_holds_everyone_and_the_end_wakes_them():
    throttle = Throttle()
    throttle.pause(0.05)
    start = time.monotonic()
    throttle.wait()
    assert time.monotonic() - start >= 0.045
    throttle.pause(1000)
    threading.Timer(0.02, throttle.stop.set).start()
    with pytest.raises(StoppedError):
        throttle.wait()
    with pytest.raises(ValueError, match="per_minute=0"):
        Throttle(0)
