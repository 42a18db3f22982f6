"""A configuration as text, as an identity, and as a place on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medgraph.config.schema import ExperimentConfig


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration: what checkpoints, YAML and hashes are made of."""
    return dataclasses.asdict(config)


def to_yaml(config: ExperimentConfig) -> str:
    """YAML text that `parse` reads back with ``config=``."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that says what is computed: not where it is stored, nor threads or progress display.

    Args:
        content: a whole configuration as plain values.
    """
    trainer = {key: content["trainer"][key] for key in ("precision", "strategy", "devices", "num_nodes")}
    data = {key: value for key, value in content["data"].items() if key != "cache"}
    return {**{key: value for key, value in content.items() if key != "run"}, "data": data, "trainer": trainer}


def config_hash(config: ExperimentConfig) -> str:
    """8 hex digits that identify what is computed."""
    return hashlib.sha256(json.dumps(identity(to_dict(config)), sort_keys=True).encode()).hexdigest()[:8]


def run_dir(config: ExperimentConfig) -> Path:
    """Stable folder of a run: ``<run.root>/<name>/<run.name or the configuration's hash>``."""
    return Path(config.run.root) / config.name / (config.run.name or config_hash(config))
