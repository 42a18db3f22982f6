from __future__ import annotations

import pytest


@pytest.fixture
def encoder(corpus):
    """The tiny dual encoder with random weights, for the words of the phantoms."""
    import torch

    from medgraph.contrast.encoder import build_encoder

    torch.manual_seed(0)
    return build_encoder("tiny", True, [record.extended for record in corpus.splits["train"]])
