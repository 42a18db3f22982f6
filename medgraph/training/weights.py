"""What stages have trained, on disk: adapters or whole parts, read back strictly."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from medgraph.config import STAGES, ConfigError, ExperimentConfig
from medgraph.config.errors import first_few
from medgraph.models.medvlm import PARTS, MedVLM

NAMED = 3
"""Names in a message."""


def trained_state(vlm: MedVLM, parts: Collection[str]) -> dict[str, Tensor]:
    """Weights and statistics that training the named parts of a model changes, shared ones once."""
    return {name: value.detach().cpu().contiguous() for name, value in _trained(vlm, parts).items()}


def _trained(vlm: MedVLM, parts: Collection[str]) -> dict[str, Tensor]:
    stored = vlm.state_dict().keys()
    buffers = {name: b for name, b in vlm.named_buffers() if name.split(".")[0] in parts and name in stored}
    return {**vlm.trained_parameters(parts), **buffers}


def load_weights(vlm: MedVLM, parts: Collection[str], file: Path) -> None:
    """Load what `trained_state` returned.

    Args:
        vlm: the model; changed in place.
        parts: all parts that were trained up to then.
        file: safetensors.

    Raises:
        ConfigError: if names or shapes are not those of the model, naming them.
    """
    state, expected = load_file(file), _trained(vlm, parts)
    check_names(file, state, expected)
    for name, value in state.items():
        found, wanted = tuple(value.shape), tuple(expected[name].shape)
        if found != wanted:
            raise ConfigError(f"{file}: {name} is {found}, in this model {wanted}; it was written with other model.* "
                              "options")  # fmt: skip
    vlm.load_state_dict(state, strict=False)


def finished_stages(folder: Path) -> list[str]:
    """Names of the stages of a run that have finished.

    Raises:
        ConfigError: if there are none.
    """
    finished = [name for name in STAGES if (folder / name / "weights.safetensors").exists()]
    if not finished:
        raise ConfigError(f"{folder}: no stage has finished; run it to the end first")
    return finished


def load_stages(vlm: MedVLM, config: ExperimentConfig, folder: Path) -> None:
    """Load what the finished stages of a run have trained.

    Args:
        vlm: the model as it was built; changed in place.
        config: of the run, with every value that was used.
        folder: of the run.

    Raises:
        ConfigError: if no stage has finished, or weights do not fit the model.
    """
    parts = parts_before(config)
    for name in finished_stages(folder):
        parts |= set(getattr(config, name).train)
        load_weights(vlm, parts, folder / name / "weights.safetensors")


def parts_before(config: ExperimentConfig) -> set[str]:
    """Parts whose weights the first stage saves besides those it trains: all, where another run has trained before."""
    return set() if config.start is None else set(PARTS)


def without_frozen(state: Mapping[str, Any], frozen: Collection[str]) -> dict[str, Any]:
    """A state dict without frozen weights, and without the scales that four-bit weights keep as ``NAME.weight.…``."""
    return {
        name: value
        for name, value in state.items()
        if name not in frozen and f"{name.partition('.weight.')[0]}.weight" not in frozen
    }


def check_names(source: Path | str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Check that weights are complete and nothing else.

    Args:
        source: where they come from, for the message.
        found: their names.
        expected: names they should have.

    Raises:
        ConfigError: naming what is missing and what is not known.
    """
    found, expected = set(found), set(expected)
    if found != expected:
        wrong = (("lacks", expected - found), ("has the unknown", found - expected))
        texts = [f"{verb} {first_few(sorted(names), NAMED)}" for verb, names in wrong if names]
        raise ConfigError(f"{source} {' and '.join(texts)}; it was written with other model.* options or stageN.train")
