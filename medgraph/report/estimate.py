"""What a run will need, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from medgraph.report.words import duration

if TYPE_CHECKING:
    from medgraph.training.estimate import RunEstimate, StageEstimate


def render_estimate(estimate: RunEstimate) -> Text:
    """Each stage with its work, its memory by purpose, and its time where the device's speed is known."""
    device = estimate.device
    text = Text.assemble("Estimate for each device (", device.name, f", {_bytes(device.memory)} free)\n")
    for name, stage in estimate.stages.items():
        states = stage.states
        purposes = {
            "weights": states.weights + states.gathered, "gradients": states.gradients, "optimiser": states.optimizer,
            "activations": stage.activations, "loss": stage.logits,
        }  # fmt: skip
        sizes = ", ".join(f"{purpose} {_bytes(size)}" for purpose, size in purposes.items())
        text.append(f"{name}: {_work(stage)}\n  memory {_bytes(stage.memory)}: {sizes}\n")
    if any(stage.seconds is not None for stage in estimate.stages.values()):
        text.append(f"Times are of training steps at {estimate.mfu:.0%} of the device's peak.\n")
    for note in estimate.notes:
        text.append(f"Note: {note}.\n")
    text.rstrip()
    return text


def _work(stage: StageEstimate) -> str:
    time = "" if stage.seconds is None else f", {duration(stage.seconds)}"
    return (
        f"{stage.steps:,} steps, batches of {stage.tokens:,.0f} tokens and {stage.flops.total / 1e12:.3g} TFLOP{time}"
    )


def _bytes(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
