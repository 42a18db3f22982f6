import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medgraph.alignment.check import check_head
from medgraph.alignment.head import AlignmentHead, AlignmentOutput
from medgraph.alignment.registry import head_class


class Mean(AlignmentHead):
    """Keeps every promise: squared distance of every image to the mean of its texts."""

    uses_tokens = False

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def gap(self, nodes):
        return nodes.image.pooled.float() - torch.stack([text.pooled.float() for text in nodes.texts.values()]).mean(0)

    def forward(self, nodes):
        return AlignmentOutput(self.weight * self.gap(nodes).square().mean())


class Forgets(Mean):
    def options(self):
        return {"wait": 1.0}


class NoScalar(Mean):
    def forward(self, nodes):
        return AlignmentOutput(self.gap(nodes).square().mean(1))


class Attached(Mean):
    def forward(self, nodes):
        return AlignmentOutput(loss := self.gap(nodes).square().mean(), {"gap": loss})


class Unused(Mean):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.idle = nn.Parameter(torch.zeros(1))


class OneText(Mean):
    def gap(self, nodes):
        return nodes.image.pooled.float() - nodes.texts["answer"].pooled.float()


class OwnNoise(Mean):
    def gap(self, nodes):
        gap = super().gap(nodes)
        return gap + torch.randn_like(gap)


class ReadsTokens(Mean):
    def gap(self, nodes):
        return super().gap(nodes) + nodes.image.tokens.mean(1)


class WrongGradient(Mean):
    def forward(self, nodes):
        return AlignmentOutput(
            F.relu(self.gap(nodes).square().mean()) + 0.5 * nodes.image.pooled.detach().square().sum()
        )


@pytest.mark.parametrize("head", [Mean(), Mean(weight=2.0), *(head_class(name)() for name in ("infonce", "mgca"))])
def test_a_good_head_keeps_every_promise(head):
    assert [str(promise) for promise in check_head(head) if not promise.kept] == []


def test_a_matching_head_keeps_all_but_that_of_finite_differences():
    promises = check_head(head_class("exgra")())
    assert [promise.what for promise in promises if not promise.kept] == [
        "the gradient is that of the loss, by finite differences"
    ]


def test_finite_differences_are_left_out_for_estimated_gradients():
    assert len(check_head(WrongGradient(), smooth=False)) == len(check_head(Mean())) - 1


@pytest.mark.parametrize(
    ("head", "broken"),
    [
        (Forgets(), "options and state"), (NoScalar(), "finite float32 scalar"), (Attached(), "terms"),
        (Unused(), "every parameter"), (OneText(), "every view"), (OwnNoise(), "noise"),
        (ReadsTokens(), "tokens"), (WrongGradient(), "finite differences"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, AlignmentHead) else "",
)  # fmt: skip
def test_a_broken_promise_is_named_with_its_reason(head, broken):
    promises = [promise for promise in check_head(head) if broken in promise.what]
    assert promises
    assert all(str(promise).startswith("BROKEN") and promise.problem for promise in promises)


def test_the_global_generator_and_the_head_are_left_alone():
    state, head = torch.get_rng_state(), head_class("convirt")()
    check_head(head)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        head(None)
