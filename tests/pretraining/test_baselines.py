import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medgraph.pretraining.losses import BYOL, EncodedViews, SimCLR, VICReg, covariance_penalty, nt_xent, variance_hinge
from medgraph.pretraining.options import BaselineOptions


@pytest.fixture
def nodes():
    return torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))


def encoded(nodes, targets=None):
    ids = torch.arange(nodes.shape[1])
    return EncodedViews(nodes, nodes, nodes, nodes, ids, torch.Generator(), targets)


def test_nt_xent_equals_its_definition(nodes):
    z = F.normalize(nodes.flatten(0, 1), dim=-1).double()
    total = 0.0
    for i in range(12):
        partner = (i + 6) % 12
        others = sum(math.exp(z[i] @ z[k] / 0.5) for k in range(12) if k != i)
        total -= math.log(math.exp(z[i] @ z[partner] / 0.5) / others)
    assert nt_xent(*nodes, 0.5).item() == pytest.approx(total / 12, abs=1e-5)


def test_other_views_of_the_same_image_are_no_negatives(nodes):
    twice = torch.cat([nodes, nodes[:, :1]], 1)
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 0])
    same = nt_xent(*twice, 0.5, ids)
    assert same < nt_xent(*twice, 0.5)
    only = nt_xent(nodes[0, :2], nodes[1, :2], 0.5, torch.tensor([3, 3]))
    assert only.item() == pytest.approx(0, abs=1e-6)  # nothing is left to be told apart from


def test_vicreg_terms_equal_numpy(nodes):
    z = nodes[0]
    covariance = np.cov(z.numpy(), rowvar=False)
    off = covariance - np.diag(np.diag(covariance))
    assert covariance_penalty(z).item() == pytest.approx((off**2).sum() / 4, rel=1e-5)
    sd = np.sqrt(np.diag(covariance) + 1e-4)
    assert variance_hinge(z).item() == pytest.approx(np.maximum(0, 1 - sd).mean(), abs=1e-5)


def test_vicreg_punishes_collapse_and_nothing_else_about_equal_views():
    spread = 100 * torch.eye(8)
    _, terms = VICReg(8, BaselineOptions())(encoded(torch.stack([spread, spread])))
    assert terms["invariance"] == 0
    assert terms["variance"] == 0
    collapsed, _ = VICReg(8, BaselineOptions(covariance=0.0))(encoded(torch.ones(2, 8, 8)))
    assert collapsed.item() == pytest.approx(25 * 0.99)


def test_byol_is_zero_where_the_prediction_is_right_and_sends_no_gradient_to_its_targets(nodes):
    loss = BYOL(4, BaselineOptions())
    loss.predictor = torch.nn.Identity()
    targets = nodes.flip(0).clone().requires_grad_()
    views = encoded(nodes.clone().requires_grad_(), targets)
    value, _ = loss(views)
    assert value.item() == pytest.approx(0, abs=1e-6)
    value.backward()
    assert targets.grad is None


def test_small_crops_take_part(nodes):
    three = torch.cat([nodes, nodes[:1] + 1.0])
    pairs = [nt_xent(three[v], three[w], 0.1, torch.arange(6)) for v, w in ((0, 1), (0, 2), (1, 2))]
    found, _ = SimCLR(4, BaselineOptions())(encoded(three))
    torch.testing.assert_close(found, torch.stack(pairs).mean())
