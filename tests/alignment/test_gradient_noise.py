import pytest
import torch

from medgraph.alignment.check import random_nodes
from medgraph.alignment.gradient_noise import gradient_noise
from medgraph.alignment.head import AlignmentHead, AlignmentOutput
from medgraph.alignment.heads.exgra import ExGraHead


class Noisy(AlignmentHead):
    """The gradient to every node is one plus Gaussian noise of the given scale."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, nodes):
        views = torch.stack([graph.pooled for graph in nodes.graphs().values()])
        slope = 1 + self.scale * torch.randn(views.shape, generator=nodes.generator)
        return AlignmentOutput((views * slope).sum())


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0])
def test_the_share_of_the_signal_is_that_of_the_variances(scale):
    found = gradient_noise(Noisy(scale), random_nodes(num_samples=40), repetitions=30)
    assert found.signal == pytest.approx(1 / (1 + scale**2), abs=0.03)
    assert len(found.losses) == len(found.cosines) == 30


def test_the_variance_falls_with_the_samples_and_the_head_stays_as_it_is():
    noise = {}
    for num_samples in (1, 16):
        head = ExGraHead(num_samples=num_samples, encoder="none")
        noise[num_samples] = 1 / gradient_noise(head, random_nodes(12)).signal - 1
        assert head.batches == 0
    assert noise[1] / noise[16] == pytest.approx(16, rel=0.4)


def test_without_a_gradient_or_repetitions_it_says_so():
    with pytest.raises(ValueError, match="at least 2 repetitions, got 1"):
        gradient_noise(Noisy(), random_nodes(), repetitions=1)
    with pytest.raises(ValueError, match="no gradient"):
        gradient_noise(ExGraHead(encoder="none"), random_nodes(1))
