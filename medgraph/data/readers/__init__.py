"""Readers of published question-answering sets and of a user's own images; each returns a `Corpus`.

`read("vqa-rad", root)` finds a reader by name; every reader is also a plain function in its own module.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

from medgraph.data.records import Corpus

READERS = {
    "vqa-rad": "vqa_rad:read_vqa_rad",
    "slake": "slake:read_slake",
    "path-vqa": "path_vqa:read_path_vqa",
    "pmc-vqa": "pmc_vqa:read_pmc_vqa",
    "omni-med-vqa": "omni_med_vqa:read_omni_med_vqa",
    "conversations": "conversations:read_conversations",
    "folder": "folder:read_folder",
    "manifest": "manifest:read_manifest",
    "masks": "masks:read_masks",
}
"""Name to module and function."""


def read(name: str, root: Path | str, **options: Any) -> Corpus:
    """Read a data set.

    Args:
        name: one of `READERS`.
        root: its folder (for `conversations` and `manifest` the file).
        options: arguments of the reader.

    Raises:
        ValueError: for an unknown name, and whatever the reader raises.
    """
    if name not in READERS:
        close = difflib.get_close_matches(name, READERS, n=1)
        raise ValueError(f"unknown reader {name!r}; {f'did you mean {close[0]!r}?' if close else ''} "
                         f"known: {', '.join(READERS)}")  # fmt: skip
    module, function = READERS[name].split(":")
    corpus: Corpus = getattr(import_module(f"{__name__}.{module}"), function)(Path(root), **options)
    return corpus
