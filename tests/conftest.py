"""What every test needs: one thread, no network, and no state left behind by the test before it."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator

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
    from medgraph.training.run import corpus_texts

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

    return Tokens(vlm.tokenizer, vlm.vision.num_tokens, 512)


@pytest.fixture
def images(corpus, vlm):
    """Image cache at the tiny model's size."""
    from medgraph.data.loading import ImageCache

    return ImageCache(corpus, vlm.vision.image_size)
