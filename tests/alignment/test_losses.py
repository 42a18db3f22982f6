from __future__ import annotations

import pytest
import torch

from medgraph.alignment.losses import hamming, same_content


def test_hamming_is_its_definition_on_matrices():
    matching = torch.tensor([[[1, 0, 2, -1], [0, 1, 2, 3]]])
    positives = torch.eye(4, dtype=torch.bool).expand(2, 4, 4)
    table = torch.nn.functional.one_hot(matching + 1, 5)[..., 1:].float()
    identity = torch.eye(4)
    expected = (table * (1 - identity) + (1 - table) * identity).sum((-1, -2)) / 4
    torch.testing.assert_close(hamming(matching, positives), expected)


def test_duplicates_are_right():
    positives = same_content(3, torch.tensor([5, 5, 6]))[None]
    assert hamming(torch.tensor([[[1, 0, 2]]]), positives).item() == 0
    assert hamming(torch.tensor([[[2, 1, 0]]]), positives).item() == pytest.approx(4 / 3)


def test_samples_that_share_image_or_text_are_the_same():
    same = same_content(3, torch.tensor([1, 1, 2]), torch.tensor([4, 5, 5]))
    assert same.int().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
