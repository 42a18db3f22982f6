"""Next-token cross entropy from final hidden states, without ever holding the logits of all tokens.

Letters: n supervised tokens, D width of the language model, V vocabulary, c tokens of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from medgraph.config import ConfigError

LossKernel = Literal["chunked", "liger"]
CHUNK = 2**25
"""Logits held at once: 128 MB in float32, 1048 tokens of 32,000 words."""


@dataclass(frozen=True, slots=True)
class LogitRule:
    """What a causal language model does to its head's output: ``cap * tanh(factor * logits / cap)``.

    Attributes:
        factor: Cohere's ``logit_scale``, Falcon-H1's ``lm_head_multiplier``, Granite's 1 / ``logits_scaling``.
        cap: Gemma's ``final_logit_softcapping``; None caps nothing.
    """

    factor: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, config: Any) -> LogitRule:
        """The rule of a model, from its configuration."""
        text = config.get_text_config()
        scaling = getattr(text, "logits_scaling", None) or 1.0
        factor = scaling if text.model_type.startswith("hyperclovax") else 1 / scaling
        for name in ("logit_scale", "lm_head_multiplier", "output_multiplier"):
            factor *= getattr(text, name, None) or 1.0
        names = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
        return cls(factor, next(filter(None, (getattr(text, name, None) for name in names)), None))

    def __call__(self, logits: Tensor) -> Tensor:
        """(…, V) output of the head to (…, V) logits in float32 or wider."""
        logits = _wide(logits) * self.factor
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


def head_loss(head: nn.Module, hidden: Tensor, labels: Tensor, rule: LogitRule, kernel: LossKernel) -> Tensor:
    """Mean cross entropy of supervised tokens.

    A plain linear head is applied chunk by chunk and its gradients are computed along the way. Any other (wrapped by
    LoRA, quantised, sharded by itself) is called as a module, with all logits of the supervised tokens.

    Args:
        head: the language model's head, (…, D) to (…, V).
        hidden: (n, D) final hidden states in front of the supervised tokens.
        labels: (n,) int64, the supervised tokens.
        rule: what follows the head.
        kernel: ``liger`` takes Liger's fused kernel on CUDA.
    """
    if type(head) is not nn.Linear:
        return F.cross_entropy(rule(head(hidden)), labels)
    if kernel == "liger":
        return _liger(head, hidden, labels, rule)
    return chunked_cross_entropy(hidden, head.weight, head.bias, labels, rule)


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, rule: LogitRule, logits_at_once: int = CHUNK
) -> Tensor:
    """Mean cross entropy of a linear head, equal to ``F.cross_entropy(rule(F.linear(hidden, weight, bias)), labels)``.

    The gradients are made in the forward pass, while a chunk's logits are there; kept for backward are only they: (n,
    D), and (V, D) where the head trains. Softmax and sums are in float32 (float64 for such input), products in the
    head's or autocast's type.

    Args:
        hidden: (n, D).
        weight: (V, D).
        bias: (V,) or None.
        labels: (n,) int64 in [0, V).
        rule: what follows the head.
        logits_at_once: sets c, at least one token.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    wanted = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in (hidden, weight, bias)]
    chunk = max(1, logits_at_once // len(weight))
    with torch.autocast(device, enabled=False):
        total: Tensor = _ChunkedCrossEntropy.apply(hidden, weight, bias, labels, rule, dtype, wanted, chunk)
    return total / len(labels)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the cross entropies; a sum, so that small gradients of a mean do not vanish in half precision."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, rule: LogitRule,
        dtype: torch.dtype, wanted: list[bool], chunk: int,
    ) -> Tensor:  # fmt: skip
        head = weight.to(dtype)
        shift = None if bias is None else bias.to(dtype)
        total = _wide(hidden.new_zeros(()))
        to_hidden = torch.empty_like(hidden) if wanted[0] else None
        to_weight, to_bias = (
            _wide(torch.zeros_like(x)) if want and x is not None else None
            for x, want in zip((weight, bias), wanted[1:], strict=True)
        )
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            x = hidden[part].to(dtype)
            losses, slopes = _cross_entropy(_wide(F.linear(x, head, shift)), labels[part], rule, any(wanted))
            total += losses.sum()
            if slopes is None:
                continue
            slopes = slopes.to(dtype)
            if to_hidden is not None:
                to_hidden[part] = slopes @ head
            if to_weight is not None and to_weight.dtype == dtype:
                to_weight.addmm_(slopes.t(), x)
            elif to_weight is not None:
                to_weight += slopes.t() @ x
            if to_bias is not None:
                to_bias += slopes.sum(0)
        ctx.save_for_backward(to_hidden, to_weight, to_bias)
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden, weight, bias)]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (
            None if gradient is None else (gradient * upstream).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*gradients, None, None, None, None, None)


def _cross_entropy(raw: Tensor, labels: Tensor, rule: LogitRule, slopes: bool) -> tuple[Tensor, Tensor | None]:
    """Cross entropies (c,) of a head's output (c, V), which is overwritten, and their derivatives by it if wanted."""
    logits, capped = raw, None
    if rule.factor != 1:
        logits.mul_(rule.factor)
    if rule.cap is not None:
        capped = logits.div_(rule.cap).tanh_()
        logits = capped * rule.cap
    labels = labels.unsqueeze(1)
    logits.sub_(logits.amax(1, keepdim=True))
    chosen = logits.gather(1, labels)
    sums = logits.exp_().sum(1, keepdim=True)
    losses = (sums.log() - chosen).squeeze(1)
    if not slopes:
        return losses, None
    gradient = logits.div_(sums)
    gradient.scatter_(1, labels, gradient.gather(1, labels) - 1)
    if capped is not None:
        gradient.mul_(capped.square_().neg_().add_(1))
    return losses, gradient if rule.factor == 1 else gradient.mul_(rule.factor)


def _wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_kernel(kernel: LossKernel) -> None:
    """Check that a loss kernel can run.

    Raises:
        ConfigError: for ``liger`` without a CUDA device or without the package.
    """
    if kernel == "liger" and not (torch.cuda.is_available() and find_spec("liger_kernel")):
        raise ConfigError("model.loss=liger: needs a CUDA device and pip install 'medgraph[liger]'; use chunked")


def _liger(head: nn.Linear, hidden: Tensor, labels: Tensor, rule: LogitRule) -> Tensor:
    """The loss by Liger's kernel (arXiv:2410.10989), which knows caps but no factors."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    bias = None if head.bias is None else head.bias * rule.factor
    return LigerFusedLinearCrossEntropyLoss(softcap=rule.cap)(head.weight, hidden * rule.factor, labels, bias)
