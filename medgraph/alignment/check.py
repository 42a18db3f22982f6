"""Does a head keep what training relies on? Seconds on random nodes tell, before any run does.

Letters: B samples, T tokens, D node width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from medgraph.alignment.head import AlignmentHead, AlignmentInput, NodeSet

STEP = 1e-2
"""Length of the step of the finite difference; a node has length √D."""
TOLERANCE = 0.05

Batches = Callable[..., AlignmentInput]
Trial = Callable[[AlignmentHead, Batches], str]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a head was tried for.

    Attributes:
        what: the promise.
        problem: what went wrong; empty where it is kept.
    """

    what: str
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether nothing went wrong."""
        return not self.problem

    def __str__(self) -> str:
        return f"kept    {self.what}" if self.kept else f"BROKEN  {self.what}: {self.problem}"


def check_head(head: AlignmentHead, dim: int = 8, smooth: bool = True) -> list[Promise]:
    """Try a head on random nodes.

    Args:
        head: fresh, not set up; stays so.
        dim: D.
        smooth: compare its gradient with finite differences; False for losses whose gradient is an estimate, such as
            those of discrete matchings.

    Returns:
        All promises, kept or not; an exception is a broken promise.

    Example:
        >>> from medgraph.alignment.heads.infonce import InfoNCEHead
        >>> all(promise.kept for promise in check_head(InfoNCEHead()))
        True
    """
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ready = copy.deepcopy(head)
        ready.setup(dim)
        for what, trial in TRIALS.items():
            if trial is _slope and not smooth:
                continue
            try:
                found.append(Promise(what, trial(copy.deepcopy(ready), partial(random_nodes, dim=dim))))
            except Exception as error:  # whatever it is, the other promises can be tried without it
                found.append(Promise(what, f"{type(error).__name__}: {error}"))
    return found


def random_nodes(num_samples: int = 6, dim: int = 8, seed: int = 0, tokens: int = 4) -> AlignmentInput:
    """A batch for trials: image, answer and extended answer, unrelated to each other, with entities, no duplicates.

    Args:
        num_samples: B.
        dim: D.
        seed: of nodes and noise.
        tokens: T; 0 makes node sets without tokens.
    """
    generator = torch.Generator().manual_seed(seed)

    def node_set() -> NodeSet:
        pooled = torch.randn(num_samples, dim, generator=generator).requires_grad_()
        words = torch.randn(num_samples, tokens, dim, generator=generator).requires_grad_()
        return NodeSet(pooled, words if tokens else None)

    image, texts = node_set(), {name: node_set() for name in ("answer", "extended")}
    entities = {name: torch.arange(num_samples) % n for n, name in enumerate(("modality", "area", "task", "label"), 2)}
    return AlignmentInput(image, texts, torch.Generator().manual_seed(seed), entities)


def _options_and_state(head: AlignmentHead, batches: Batches) -> str:
    again = type(head)(**head.options())
    again.setup(batches().image.pooled.shape[-1])
    again.load_state_dict(head.state_dict())
    return _unequal(again(batches()).loss, head(batches()).loss)


def _finite(head: AlignmentHead, batches: Batches) -> str:
    equal = _each(batches(), torch.ones_like)
    for name, nodes in {"6 samples": batches(), "1 sample": batches(1), "equal nodes": equal}.items():
        loss = head(nodes).loss
        if loss.shape != () or loss.dtype != torch.float32 or not torch.isfinite(loss):
            return f"{name}: {loss.detach()!r}"
    return ""


def _terms(head: AlignmentHead, batches: Batches) -> str:
    terms = head(batches()).terms.items()
    return ", ".join(name for name, term in terms if term.ndim or term.requires_grad)


def _gradients(head: AlignmentHead, batches: Batches) -> str:
    nodes = batches()
    head(nodes).loss.backward()
    leaves: dict[str, list[Tensor | None]] = {name: [g.pooled, g.tokens] for name, g in nodes.graphs().items()}
    leaves |= {name: [p] for name, p in head.named_parameters() if p.requires_grad}
    for name, tensors in leaves.items():
        received = [x.grad for x in tensors if x is not None and x.grad is not None]
        if not received:
            return f"{name} gets none"
        if not all(torch.isfinite(gradient).all() for gradient in received):
            return f"that of {name} is not finite"
    return ""


def _noise(head: AlignmentHead, batches: Batches) -> str:
    other = copy.deepcopy(head)
    before = torch.get_rng_state()
    first = head(batches()).loss
    if not torch.equal(torch.get_rng_state(), before):
        return "torch's global generator was used"
    return _unequal(other(batches()).loss, first)


def _tokens(head: AlignmentHead, batches: Batches) -> str:
    if head.uses_tokens:
        return ""
    other, without = copy.deepcopy(head), batches()
    for graph in without.graphs().values():
        graph.tokens = None
    return _unequal(head(without).loss, other(batches()).loss)


def _slope(head: AlignmentHead, batches: Batches) -> str:
    """Compare the length of the gradient with the slope of the loss along it."""
    nodes = batches(tokens=0)
    before = copy.deepcopy(head)
    head(nodes).loss.backward()
    gradients = [graph.pooled.grad for graph in nodes.graphs().values()]
    length = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    if not length:
        return "it is zero"
    losses = []
    for sign in (1, -1):
        moved = batches(tokens=0)
        for graph, gradient in zip(moved.graphs().values(), gradients, strict=True):
            if gradient is not None:
                graph.pooled = graph.pooled.detach() + sign * STEP * gradient / length
        losses.append(copy.deepcopy(before)(moved).loss.detach())
    slope = (losses[0] - losses[1]) / (2 * STEP)
    return "" if abs(slope / length - 1) < TOLERANCE else f"its length is {length:.4g}, the slope {slope:.4g}"


TRIALS: Mapping[str, Trial] = {
    "options and state make the same head again": _options_and_state,
    "the loss is a finite float32 scalar, for one sample and equal nodes too": _finite,
    "terms are detached scalars": _terms,
    "every view and every parameter gets a finite gradient: other ranks wait for it": _gradients,
    "noise comes from the generator of the batch alone: a resumed run is the same run": _noise,
    "tokens are not read where uses_tokens is False": _tokens,
    "the gradient is that of the loss, by finite differences": _slope,
}


def _each(nodes: AlignmentInput, change: Callable[[Tensor], Tensor]) -> AlignmentInput:
    """The batch with all its node sets changed."""

    def changed(graph: NodeSet) -> NodeSet:
        return replace(
            graph, pooled=change(graph.pooled), tokens=None if graph.tokens is None else change(graph.tokens)
        )

    return replace(nodes, image=changed(nodes.image), texts={name: changed(g) for name, g in nodes.texts.items()})


def _unequal(found: Tensor, wanted: Tensor) -> str:
    return "" if torch.allclose(found, wanted, rtol=1e-5, atol=1e-6) else f"{found:.6g} instead of {wanted:.6g}"
