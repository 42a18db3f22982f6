"""What a result depends on besides its configuration: versions, commit, machine."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("medgraph", "torch", "lightning", "transformers", "tokenizers", "torchmetrics", "torch_geometric", "numpy")


def environment() -> dict[str, Any]:
    """Versions, git commit (with a mark for uncommitted changes), source and hardware, as plain values for JSON."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "git": git_commit(),
        "code": code_hash(),
        "gpus": gpus,
    }


@functools.cache
def code_hash() -> str:
    """8 hex digits of MedGraph's own source, as it was when the process first asked: other code, other results."""
    root = Path(__file__).parent.parent
    files = sorted(root.rglob("*.py"))
    content = b"\0".join(part for file in files for part in (str(file.relative_to(root)).encode(), file.read_bytes()))
    return hashlib.sha256(content).hexdigest()[:8]


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
