from pathlib import Path

import pytest

ARM = """
from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, model_config
from medgraph.training.launch import launch

def config():
    none = StageConfig(steps=0)
    return ExperimentConfig(
        data=PhantomConfig(num_train=8, num_task=4, num_val=2, num_test=2, num_ood=2),
        model=model_config("tiny", weights="random"), stage1=none, stage3=none,
        stage2=StageConfig(steps=2, batch_size=4),
    )

if __name__ == "__main__":
    launch(config)
"""


@pytest.fixture
def tiny_arm(tmp_path) -> Path:
    """An experiment file that trains for two steps on eight images."""
    file = tmp_path / "arm.py"
    file.write_text(ARM)
    return file
