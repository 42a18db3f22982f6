"""What every test needs: one thread, no network, and no state left behind by the test before it."""

from __future__ import annotations

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
