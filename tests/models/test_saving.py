from types import SimpleNamespace

import pytest
import torch

from medgraph.config import ConfigError
from medgraph.models.saving import hugging_face_model


def test_towers_that_nothing_could_load_again_are_refused():
    with pytest.raises(ConfigError, match="Linear is no Hugging Face model"):
        hugging_face_model(SimpleNamespace(model=torch.nn.Linear(1, 1)))
