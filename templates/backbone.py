"""A backbone of your own as a preset: a vision tower, a language model, and how they are trained.

A pair that is used once needs no preset: `model.vision=NAME model.llm=NAME`, names of the hub or folders. A family of
whole image-text-to-text models is one `Family` in medgraph/models/families.py instead (docs/models.md).

    python templates/backbone.py model.vision=/models/my-tower model.llm=/models/my-llm

To add the preset to MedGraph: the line of `MODELS` to medgraph/config/schema.py, the stages' values with their source
to medgraph/training/recipes.py, a tiny model of each new family to tests/models/test_backbones.py, and a row in
docs/models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medgraph.config import MODELS, ExperimentConfig, ModelConfig, PhantomConfig, StageConfig, model_config
from medgraph.training.launch import launch

if TYPE_CHECKING:
    from medgraph.training.run import Outcome

MODELS["my-model"] = ModelConfig("my-model", vision="tiny", llm="tiny", vision_layer=-1, pool=2, max_length=512)


def config() -> ExperimentConfig:
    """Stages as the paper of the model trains them; every value can be overridden on the command line."""
    return ExperimentConfig(
        name="my_model",
        data=PhantomConfig(fraction=0.1),
        model=model_config("my-model"),
        stage1=StageConfig(steps=100, batch_size=16, lr=1e-3, train=["projector"]),
        stage2=StageConfig(steps=500, batch_size=16, lr=2e-5, train=["projector", "llm"]),
        stage3=StageConfig(steps=100, batch_size=16, lr=2e-5, train=["projector", "llm"]),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
