"""Readers, records, conversations and loaders."""

from __future__ import annotations

from medgraph.config import DataConfig, MedMATConfig, PhantomConfig
from medgraph.data.records import Corpus


def build_corpus(config: DataConfig) -> Corpus:
    """Read or generate the data of a configuration; images are loaded later, one by one.

    Raises:
        ValueError: for data that is missing or malformed, naming file, record and field.
    """
    if isinstance(config, PhantomConfig):
        from medgraph.data.phantom import build_phantom

        return build_phantom(config)
    if isinstance(config, MedMATConfig):
        from medgraph.data.medmat import build_medmat

        return build_medmat(config)
    raise ValueError(f"no reader for {type(config).__name__}; known: PhantomConfig, MedMATConfig")
