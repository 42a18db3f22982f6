import pytest
import torch

from medgraph.config import model_config
from medgraph.models.build import build_vision
from medgraph.segmentation.network import SegmentationNet, dice_loss


def test_every_pixel_gets_logits_and_the_tower_gradients():
    tower = build_vision(model_config("tiny", weights="random", vision_layer=-1))
    net = SegmentationNet(tower, 3)
    logits = net(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert logits.shape == (2, 3, 64, 64)
    logits.sum().backward()
    assert all(each.grad is not None for each in net.parameters() if each.requires_grad)


def test_dice_loss_is_nothing_for_the_truth_and_one_for_its_opposite():
    labels = torch.tensor([[[0, 1], [2, 1]]])
    truth = 50.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2)
    assert dice_loss(truth, labels).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(truth.roll(1, 1), labels).item() == pytest.approx(1, abs=1e-6)
    assert dice_loss(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)).item() == 0


def test_dice_loss_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 4, 5, 5, generator=generator), torch.randint(3, (2, 5, 5), generator=generator)
    p, expected = logits.softmax(1), []
    for k in (1, 2):  # class 3 is absent
        y = (labels == k).float()
        expected.append(1 - 2 * (p[:, k] * y).sum() / (p[:, k].sum() + y.sum()))
    torch.testing.assert_close(dice_loss(logits, labels), torch.stack(expected).mean())
