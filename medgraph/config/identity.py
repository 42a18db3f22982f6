"""A configuration as text, as an identity, and as a place on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medgraph.config.schema import STAGES


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration: what checkpoints, YAML and hashes are made of."""
    return dataclasses.asdict(config)


def to_yaml(config: Any) -> str:
    """YAML text that `parse` reads back with ``config=``."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that says what is computed: not where it is stored, nor by how many devices.

    What counts of a batch is its size over all devices.

    Args:
        content: a whole configuration as plain values.
    """
    trainer = content["trainer"]
    devices = 1 if trainer["devices"] == "auto" else trainer["devices"] * trainer["num_nodes"]
    sizes = {name: content[name]["batch_size"] for name in STAGES if name in content}
    stages = {name: {**content[name], "batch_size": size and size * devices} for name, size in sizes.items()}
    return {
        **{key: value for key, value in content.items() if key != "run"},
        "data": {key: value for key, value in content["data"].items() if key != "cache"},
        "trainer": {"precision": trainer["precision"]},
        **stages,
    }


def config_hash(config: Any) -> str:
    """8 hex digits that identify what is computed."""
    return hashlib.sha256(json.dumps(identity(to_dict(config)), sort_keys=True).encode()).hexdigest()[:8]


def run_dir(config: Any) -> Path:
    """Stable folder of a run: ``<run.root>/<name>/<run.name or the configuration's hash>``."""
    return Path(config.run.root) / config.name / (config.run.name or config_hash(config))
