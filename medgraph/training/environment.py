"""What a result depends on besides its configuration: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("medgraph", "torch", "lightning", "transformers", "tokenizers", "torchmetrics", "torch_geometric", "numpy")


def environment() -> dict[str, Any]:
    """Versions, git commit (with a mark for uncommitted changes) and hardware, as plain values for JSON."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "git": git_commit(),
        "gpus": gpus,
    }


def git_commit() -> str | None:
    """Commit of the source tree, ``+dirty`` behind it with uncommitted changes; None outside a repository."""

    def git(*arguments: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
