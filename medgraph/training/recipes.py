"""Hyper-parameters of the three stages: the papers' for real models, own ones for the presets tiny and small."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from medgraph.config import STAGES, ConfigError, DataConfig, ExperimentConfig, MixtureConfig, StageConfig
from medgraph.config.mixture import mixture_parts


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a `StageConfig` leaves open."""

    batch_size: int
    lr: float
    train: tuple[str, ...]
    steps: int | None = None
    epochs: float | None = None


PAPER = {
    # ExGra-Med, arXiv:2410.02615: samples a device; the release has 4 devices x 2 accumulated batches in stage 1, 4
    # devices in stage 2 and 2 in stage 3, and graphs of one device's samples
    "stage1": Recipe(batch_size=16, lr=2e-3, train=("projector",), epochs=1),
    "stage2": Recipe(batch_size=16, lr=2e-5, train=("projector", "llm"), epochs=3),
    "stage3": Recipe(batch_size=32, lr=4e-5, train=("projector", "llm"), epochs=15),
}
LORA_LR = 2e-4
"""Learning rate where a real language model trains its adapters: that of LLaVA-1.5 (arXiv:2310.03744; rank 128, alpha
256) and of QLoRA up to 13B (arXiv:2305.14314). ExGra-Med publishes none."""
FINE_TUNING = {
    # stage 3 by data set, without and with a dense connector; the release has two devices
    ("vqa_rad", False): Recipe(batch_size=32, lr=4e-5, train=("projector", "llm"), epochs=15),
    ("vqa_rad", True): Recipe(batch_size=32, lr=2e-5, train=("projector", "llm"), epochs=15),
    ("slake", False): Recipe(batch_size=64, lr=4e-5, train=("projector", "llm"), epochs=15),
    ("slake", True): Recipe(batch_size=64, lr=4e-5, train=("projector", "llm"), epochs=18),
    ("path_vqa", False): Recipe(batch_size=32, lr=3e-5, train=("projector", "llm"), epochs=15),
    ("path_vqa", True): Recipe(batch_size=32, lr=2e-5, train=("projector", "llm"), epochs=15),
}
TINY = {
    # a frozen self-supervised tower leaves nothing to learn from more images, so the tiny tower is trained too
    "stage1": Recipe(batch_size=32, lr=2e-3, train=("projector",), steps=40),
    "stage2": Recipe(batch_size=32, lr=1.5e-3, train=("vision", "projector", "llm"), steps=300),
    "stage3": Recipe(batch_size=32, lr=3e-4, train=("vision", "projector", "llm"), steps=60),
}
SMALL = {
    # nothing is pre-trained, so everything is trained from the first stage on; not tuned
    "stage1": Recipe(batch_size=32, lr=5e-4, train=("vision", "projector", "llm"), steps=500),
    "stage2": Recipe(batch_size=32, lr=5e-4, train=("vision", "projector", "llm"), steps=3000),
    "stage3": Recipe(batch_size=32, lr=1e-4, train=("vision", "projector", "llm"), steps=300),
}
BUILT_IN = {"tiny": TINY, "small": SMALL}
"""Recipes where both tower and language model are MedGraph's own."""


def resolve(config: ExperimentConfig) -> ExperimentConfig:
    """Fill in what the stages leave open, so that the saved configuration has every value that was used.

    A recipe's epochs count over all data: with a fraction of it, instruction tuning takes as many steps, so that arms
    differ in data and not in compute.
    """
    model = config.model
    own = model.vlm is None and model.vision == model.llm
    recipes = BUILT_IN.get(model.llm, PAPER) if own else PAPER
    adapters = recipes is PAPER and model.lora.rank > 0 and "llm" in model.lora.parts
    if recipes is PAPER:
        data_set = FINE_TUNING.get((_task_set(config.data), config.model.connector != "none"), PAPER["stage3"])
        recipes = {**PAPER, "stage3": data_set}
    filled = dataclasses.replace(
        config,
        stage1=_fill(config.stage1, recipes["stage1"], config.data.fraction, adapters),
        stage2=_fill(config.stage2, recipes["stage2"], config.data.fraction, adapters),
        stage3=_fill(config.stage3, recipes["stage3"], 1.0, adapters),
    )
    if model.dvpt.prompts and not any("vision" in (getattr(filled, name).train or ()) for name in STAGES):
        raise ConfigError(f"model.dvpt.prompts={model.dvpt.prompts} has no effect while no stage trains the tower; add "
                          "stage2.train=[vision,projector,llm]")  # fmt: skip
    return filled


def _task_set(data: DataConfig) -> str:
    """Name of the source that stage 3 trains on."""
    if isinstance(data, MixtureConfig):
        return next((part.data.name for part in mixture_parts(data) if "task" in part.splits), "")
    return data.name


def _fill(stage: StageConfig, recipe: Recipe, fraction: float, adapters: bool) -> StageConfig:
    length = stage.steps is not None or stage.epochs is not None
    epochs = None if recipe.epochs is None else recipe.epochs / fraction
    train = list(recipe.train) if stage.train is None else stage.train
    return dataclasses.replace(
        stage,
        steps=stage.steps if length else recipe.steps,
        epochs=stage.epochs if length else epochs,
        batch_size=stage.batch_size or recipe.batch_size,
        lr=stage.lr or (LORA_LR if adapters and "llm" in train else recipe.lr),
        train=train,
    )
