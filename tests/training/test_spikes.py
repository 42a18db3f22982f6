import re
from types import SimpleNamespace

import pytest
import torch

from medgraph.training.spikes import ENOUGH, SpikeGuard, gradient_norm

TRAINER = SimpleNamespace(precision="32-true", strategy=None, global_step=7)


@pytest.fixture
def take_step():
    """Let a guard see a step with the given losses, one a batch, and gradient."""
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight])

    def take_step(guard, losses, gradient=1.0, trainer=TRAINER):
        weight.grad = torch.full((2,), gradient)
        for number, loss in enumerate(losses):
            terms = {"lm": torch.tensor(loss), "align/matched": torch.tensor([float("nan")])}
            module = SimpleNamespace(batch_terms=(SimpleNamespace(ids=[[f"record-{number}"]]), terms))
            guard.on_after_backward(trainer, module)
        guard.on_before_optimizer_step(trainer, module, optimizer)

    return take_step


def calm(guard, take_step, steps=ENOUGH):
    for number in range(steps):
        take_step(guard, [1.0 + number % 3])


@pytest.mark.parametrize(
    ("losses", "gradient", "message"),
    [
        (
            [1.0, 201.0],
            1.0,
            r"step 7: the train/lm is 201, after a median of 2 over 16 steps, .*for records record-0, record-1",
        ),
        ([1.0], 200.0, r"step 7: the gradient norm is 283, after a median of 1\.41 over 16 steps"),
        ([1.0], float("inf"), r"step 7: the gradient norm is not finite for records .*trainer\.precision=32-true"),
    ],
)
def test_a_bad_step_is_named_before_a_checkpoint_could_hold_it(take_step, losses, gradient, message):
    guard = SpikeGuard(100)
    calm(guard, take_step)
    take_step(guard, losses, gradient)
    with pytest.raises(FloatingPointError) as error:
        guard.on_save_checkpoint(TRAINER)
    assert re.search(message, str(error.value))
    assert "The last checkpoint is from before" in str(error.value)


def test_without_a_checkpoint_the_next_step_tells(take_step):
    guard = SpikeGuard(100)
    calm(guard, take_step)
    take_step(guard, [1.0], 1e6)
    with pytest.raises(FloatingPointError, match="gradient norm is 1\\.41e\\+06"):
        take_step(guard, [1.0])


def test_what_is_no_spike_passes(take_step):
    for guard in (SpikeGuard(0), SpikeGuard(100)):
        calm(guard, take_step, steps=ENOUGH - 2)
        take_step(guard, [1e5] if guard.factor == 0 else [150.0])
        guard.on_train_end(TRAINER)
    tiny = SpikeGuard(100)
    for _ in range(ENOUGH):
        take_step(tiny, [1e-6], 1e-6)
    take_step(tiny, [5.0], 5.0)
    tiny.on_train_end(TRAINER)


def test_a_gradient_scaler_may_overflow(take_step):
    guard = SpikeGuard(100)
    take_step(guard, [1.0], float("inf"), SimpleNamespace(precision="16-mixed", strategy=None, global_step=0))
    guard.judge(scaled=True)
    assert not guard.history["gradient norm"]


def test_the_norm_is_that_of_all_gradients():
    weights = [
        torch.nn.Parameter(torch.zeros(3)),
        torch.nn.Parameter(torch.zeros(2, 2)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    for weight, value in zip(weights, (1.0, 2.0), strict=False):
        weight.grad = torch.full_like(weight, value)
    assert gradient_norm(weights, sharded=False) == pytest.approx((3 + 16) ** 0.5)
    assert gradient_norm(weights, sharded=True) == pytest.approx((3 + 16) ** 0.5)


@pytest.mark.slow
def test_a_run_keeps_the_checkpoint_before_a_spike(tmp_path, monkeypatch):
    from medgraph.alignment.head import AlignmentHead, AlignmentOutput
    from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, model_config, parse
    from medgraph.training import spikes
    from medgraph.training.run import run

    class Exploding(AlignmentHead):
        calls = 0

        def forward(self, nodes):
            Exploding.calls += 1
            return AlignmentOutput(nodes.image.pooled.square().mean() * (1e8 if Exploding.calls == 6 else 1e-3))

    monkeypatch.setattr(spikes, "ENOUGH", 3)
    none = StageConfig(steps=0)
    config = ExperimentConfig(
        data=PhantomConfig(num_train=24, num_task=8, num_val=4, num_test=4, num_ood=4), stage1=none, stage3=none,
        model=model_config("tiny", weights="random"), stage2=StageConfig(steps=12, batch_size=4, alpha=1.0),
    )  # fmt: skip
    options = ["trainer.checkpoint_every=1", "trainer.accelerator=cpu", "eval.limit=2", "run.name=r"]
    config = parse(config, [f"run.root={tmp_path}", *options])
    with pytest.raises(FloatingPointError, match=r"step 5: the gradient norm is .*phantom"):
        run(config, alignment=Exploding())
    kept = sorted(file.name for file in (tmp_path / "experiment" / "r" / "stage2").glob("*.ckpt"))
    assert kept == ["step=4.ckpt", "step=5.ckpt"]
    assert run(config, alignment=Exploding()).results  # the head's sixth call is over
