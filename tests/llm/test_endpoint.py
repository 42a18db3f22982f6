import threading
import time
from email.utils import formatdate

import pytest

from medgraph.config import ConfigError
from medgraph.llm.chat import CallError, RejectedError, StoppedError
from medgraph.llm.endpoint import Endpoint
from medgraph.llm.throttle import Throttle

pytest.importorskip("openai", reason="needs the extra llm")

ASKED = [{"role": "user", "content": "Where is the mass?"}]
GOOD = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "left"}}


@pytest.fixture
def endpoint(chat_server):
    """An endpoint with back-offs a hundred times shorter than they would be."""

    def endpoint(**options) -> Endpoint:
        throttle = Throttle()
        sleep = throttle.sleep
        throttle.sleep = lambda seconds: sleep(seconds / 100)
        return Endpoint({"model": "m"}, throttle, **{"retries": 2, **options})

    return endpoint


def test_an_answer(chat_server):
    settings = {"model": "m", "temperature": 0.0, "max_tokens": 5}
    reply = Endpoint(settings, Throttle())(ASKED)
    assert (reply.text, reply.stop, reply.prompt_tokens, reply.completion_tokens) == ("hello", "stop", 100, 10)
    assert chat_server.requests == [{**settings, "messages": ASKED}]


def test_tokens_nobody_counted_are_estimated(endpoint, chat_server):
    chat_server.answer = lambda request: (200, {"choices": [GOOD]}, {})
    reply = endpoint()(ASKED)
    assert (reply.text, reply.counted, reply.prompt_tokens) == ("left", False, 9)


@pytest.mark.parametrize(
    "trouble",
    [
        (500, {"error": {"message": "down"}}, {}),
        (503, "<html>bad gateway</html>", {"Content-Type": "text/html"}),
        (429, {"error": {"message": "slow down"}}, {}),
        (200, "no json at all", {}),
        (200, "plain text", {"Content-Type": "text/plain"}),
        (200, {"choices": []}, {}),
        (200, {"error": "strange"}, {}),
        (200, [1], {}),
    ],
    ids=["500", "503", "429", "garbage", "text", "no choices", "no completion", "list"],
)
def test_trouble_is_tried_again_until_it_is_too_much(endpoint, chat_server, trouble):
    chat_server.answer = lambda request: trouble if len(chat_server.requests) < 3 else "left"
    assert endpoint()(ASKED).text == "left"
    assert len(chat_server.requests) == 3
    chat_server.answer = lambda request: trouble
    with pytest.raises(CallError, match="2 attempts failed, the last one: "):
        endpoint(retries=1)(ASKED)


def test_a_server_that_stalls(endpoint, chat_server):
    awake = threading.Event()
    chat_server.answer = lambda request: "left" if len(chat_server.requests) > 1 else str(awake.wait(5))
    assert endpoint(timeout=0.1)(ASKED).text == "left"
    awake.set()


def test_a_server_that_is_not_there(monkeypatch, endpoint):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(CallError, match="2 attempts failed, the last one: APIConnectionError"):
        endpoint(retries=1)(ASKED)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured_by_all_threads(endpoint, chat_server, as_date):
    times = []

    def answer(request):
        times.append(time.monotonic())
        after = formatdate(time.time() + 1.5, usegmt=True) if as_date else "0.2"
        return (429, {"error": {"message": "slow"}}, {"Retry-After": after}) if len(times) == 1 else "left"

    chat_server.answer = answer
    ask = endpoint()
    assert ask(ASKED).text == "left"
    assert times[1] - times[0] >= (0.4 if as_date else 0.2), "a date has whole seconds"


def test_a_server_that_asks_for_an_hour_ends_the_job(endpoint, chat_server):
    chat_server.answer = lambda request: (429, {"error": {"message": "quota"}}, {"Retry-After": "3600"})
    with pytest.raises(CallError, match="the server asks to wait 3600 s: HTTP 429"):
        endpoint()(ASKED)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_not_accepted(endpoint, chat_server, status):
    chat_server.answer = lambda request: (status, {"error": {"message": "context too long"}}, {})
    with pytest.raises(RejectedError, match=f"HTTP {status}: .*context too long"):
        endpoint()(ASKED)
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (404, "no_model"), (429, "insufficient_quota")])
def test_what_no_retry_can_mend(endpoint, chat_server, status, code):
    chat_server.answer = lambda request: (status, {"error": {"message": "no", "code": code}}, {})
    with pytest.raises(CallError, match=f"HTTP {status}") as caught:
        endpoint()(ASKED)
    assert not isinstance(caught.value, RejectedError)
    assert len(chat_server.requests) == 1


def test_the_end_of_the_program_ends_the_back_off(endpoint, chat_server):
    ask = endpoint()

    def answer(request):
        ask.throttle.stop.set()
        return (500, "", {})

    chat_server.answer = answer
    with pytest.raises(StoppedError):
        ask(ASKED)


def test_it_must_be_said_whom_to_ask(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"):
        Endpoint({"model": "m"}, Throttle())
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    Endpoint({"model": "m"}, Throttle())
