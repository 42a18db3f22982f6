"""What every test needs: one thread, no network, and no state left behind by the test before it."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    MPLBACKEND="Agg",
    COLUMNS="120",
)


@pytest.fixture
def interrupt() -> Callable[[type, int, Callable[[], object]], None]:
    """Train by a call until Ctrl-C comes in a step of a module."""

    def interrupt(module: type, step: int, train: Callable[[], object]) -> None:
        whole = module.training_step

        def stop(self, batch, batch_idx):
            if self.global_step == step:
                raise KeyboardInterrupt
            return whole(self, batch, batch_idx)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "training_step", stop)
            with pytest.raises(KeyboardInterrupt):
                train()

    return interrupt


@pytest.fixture
def whole_and_parts(interrupt, tmp_path) -> Callable[..., tuple[Any, Any]]:
    """Outcomes of a training left alone, and of one that was interrupted and continued.

    Takes ``run(config, console)``, the ``configure(root, **options)`` of its configurations, module and step of the
    interruption, and options.
    """

    def train(run: Callable, configure: Callable, module: type, step: int, **options: Any) -> tuple[Any, Any]:
        from rich.console import Console

        from medgraph.config import TrainerConfig

        quiet = Console(quiet=True)
        trainer = TrainerConfig(accelerator="cpu", log_every=1, progress=False, checkpoint_every=2)
        whole, parts = (configure(tmp_path / name, trainer=trainer, **options) for name in ("whole", "parts"))
        left_alone = run(whole, quiet)
        interrupt(module, step, lambda: run(parts, quiet))
        return left_alone, run(parts, quiet)

    return train


@pytest.fixture(autouse=True)
def _clean_torch() -> Iterator[None]:
    """Undo what Lightning and torch set for the whole process. Does not import torch for tests that do without."""
    yield
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    if torch.are_deterministic_algorithms_enabled():  # setting it imports the compiler
        torch.use_deterministic_algorithms(False)
    torch.set_grad_enabled(True)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def _clean_environment() -> Iterator[None]:
    """Restore the environment and the import path: `seed_everything` and the command line write to them."""
    environment, path, argv = dict(os.environ), list(sys.path), list(sys.argv)
    yield
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:], sys.argv[:] = path, argv


@pytest.fixture(scope="session")
def corpus():
    """24 training phantoms and a few of every other split."""
    from medgraph.config import PhantomConfig
    from medgraph.data import build_corpus

    return build_corpus(PhantomConfig(num_train=24, num_task=8, num_val=4, num_test=8, num_ood=4))


@pytest.fixture(scope="session")
def _vlm(corpus):
    import torch

    from medgraph.config import model_config
    from medgraph.models.build import build_model
    from medgraph.training.prepare import corpus_texts

    torch.manual_seed(0)
    return build_model(model_config("tiny", weights="random"), corpus_texts(corpus))


@pytest.fixture
def vlm(_vlm):
    """The tiny model with random weights, the same each time."""
    return copy.deepcopy(_vlm)


@pytest.fixture
def tokens(vlm):
    """What collation knows about the tiny model."""
    from medgraph.data.collate import Tokens

    return Tokens(vlm.tokenizer, vlm.num_image_tokens, 512)


@pytest.fixture
def images(corpus, vlm):
    """Image cache at the tiny model's size."""
    from medgraph.data.loading import ImageCache

    return ImageCache(corpus, vlm.vision.image_size)


class ChatServer:
    """An OpenAI-compatible server on this machine whose answers the test decides.

    Set `answer` to a function of the request's JSON: it returns the text of the reply, or a tuple of HTTP status, body
    (text, or a value that becomes JSON) and headers. `requests` holds what was asked.
    """

    def __init__(self) -> None:
        import threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.requests: list[dict] = []
        self.answer: Callable[[dict], str | tuple] = lambda request: "hello"
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(request)
                answer = server.answer(request)
                status, body, headers = (200, chat_completion(answer), {}) if isinstance(answer, str) else answer
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *arguments: None  # a client that hangs up
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def chat_completion(text: str | None, stop: str = "stop", **message: object) -> dict:
    """The body of a successful reply; 100 tokens read, 10 written."""
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": stop, "message": {"role": "assistant", "content": text, **message}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }  # fmt: skip


@pytest.fixture
def chat_server(monkeypatch):
    """A local chat server that the environment points to."""
    server = ChatServer()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    yield server
    server.close()
