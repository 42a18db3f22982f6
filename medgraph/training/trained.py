"""A trained model to put questions to: loaded from the folder of a run, without the data it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from omegaconf import OmegaConf
from torch import nn

from medgraph.config import DATA, STAGES, ConfigError, ExperimentConfig, ModelConfig
from medgraph.data.collate import Tokens
from medgraph.models.build import assets_hash, build_model
from medgraph.models.medvlm import MedVLM
from medgraph.models.tokenizer import load_tokenizer
from medgraph.training.weights import finished_stages, load_stages

FREE = ("name", "max_length", "text_nodes", "text_layers", "loss")
"""Options of a model that may differ between a run and the one it starts from."""
SAMPLED = 1000
"""Values of a tensor that a fingerprint looks at."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that can be asked.

    Attributes:
        vlm: in evaluation mode, on the CPU.
        tokens: what collation must know about it.
        unfinished: stages of its run that have not ended; their training is missing.
    """

    vlm: MedVLM
    tokens: Tokens
    unfinished: tuple[str, ...]


def saved_config(folder: Path) -> ExperimentConfig:
    """Configuration that a run was made with, but for its alignment head, whose code may not be here.

    Raises:
        ConfigError: if the folder is not that of a run.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        found = "has no config.yaml" if folder.is_dir() else "does not exist"
        raise ConfigError(f"{folder} is not the folder of a run: it {found}; expected runs/<experiment>/<name>")
    saved: Any = OmegaConf.to_container(OmegaConf.load(file))
    saved.pop("alignment", None)
    source = DATA[saved.get("data", {}).get("name", "phantom")]
    config: Any = OmegaConf.merge(OmegaConf.structured(ExperimentConfig(data=source())), saved)
    return cast("ExperimentConfig", OmegaConf.to_object(config))


def load_trained(folder: Path, model: ModelConfig | None = None) -> Trained:
    """Load the model of a run with the weights of its finished stages; its data may be gone.

    Args:
        folder: of the run.
        model: the same model with other ways to compute; None: the run's.

    Raises:
        ConfigError: if the folder is not that of a run, or none of its stages has finished.
    """
    config, finished = saved_config(folder), finished_stages(folder)
    # parts that no stage has trained are drawn as in the run
    L.seed_everything(config.seed, workers=True, verbose=False)
    vlm = build_model(model or config.model, (), load_tokenizer(str(folder / "tokenizer")))
    load_stages(vlm, config, folder)
    planned = [name for name in STAGES if 0 not in (getattr(config, name).steps, getattr(config, name).epochs)]
    return Trained(
        vlm.eval(),
        Tokens(vlm.tokenizer, vlm.num_image_tokens, config.model.max_length),
        tuple(name for name in planned if name not in finished),
    )


def load_whole_model(name: str) -> Trained:
    """A whole Hugging Face image-text-to-text model as it is, by hub name or local path.

    Raises:
        ConfigError: if it cannot be loaded.
    """
    config = ModelConfig(name, vlm=name)
    try:
        vlm = build_model(config, ())
    except ConfigError as error:
        raise ConfigError(f"{name}: neither the folder of a run nor a model that could be loaded: {error}") from error
    return Trained(vlm, Tokens(vlm.tokenizer, vlm.num_image_tokens, config.max_length), ())


def starting_model(config: ExperimentConfig, texts: Iterable[str]) -> tuple[MedVLM, str | None]:
    """The model that a run starts from.

    Args:
        config: of the run.
        texts: of its data, for a tokenizer where the model has none.

    Returns:
        The model, and a hash of the weights that this package or another run has trained; None if there are none.

    Raises:
        ConfigError: if ``start`` is no finished run, or one of another model.
    """
    if config.start is None:
        return build_model(config.model, texts), assets_hash(config.model)
    folder = Path(config.start)
    before, now = (vars(model) for model in (saved_config(folder).model, config.model))
    changed = [f"model.{name}={now[name]} (there {value})" for name, value in before.items()
               if name not in FREE and now[name] != value]  # fmt: skip
    if changed:
        raise ConfigError(f"start={config.start}: is a run of another model, different in {', '.join(changed)}; give "
                          "both the same model.* options")  # fmt: skip
    trained = load_trained(folder, config.model)
    if trained.unfinished:
        raise ConfigError(f"start={config.start}: {', '.join(trained.unfinished)} of that run has not finished; run it "
                          "to the end first")  # fmt: skip
    return trained.vlm, fingerprint(trained.vlm)


def fingerprint(model: nn.Module) -> str:
    """16 hex digits of the names, shapes and up to `SAMPLED` evenly spaced values of every tensor of a model.

    A second for billions of parameters; training changes every value of what it trains, so it changes these.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        values = tensor.detach().flatten()
        sample = values[:: max(1, values.numel() // SAMPLED)].to("cpu", torch.float32)
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]
