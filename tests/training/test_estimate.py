import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.config import ConfigError, ExperimentConfig, LoraOptions, StageConfig, model_config
from medgraph.data.conversation import IGNORE
from medgraph.data.datamodule import CorpusDataModule
from medgraph.data.errors import DataError
from medgraph.data.records import Corpus
from medgraph.models.skeleton import build_skeleton
from medgraph.models.text_nodes import read_batch
from medgraph.training.costs import activation_bytes, shapes_of, state_bytes, step_flops
from medgraph.training.estimate import Device, RunEstimate, check_memory, estimate_stages, named_gpu
from medgraph.training.stages import Stage
from medgraph.training.workload import Workload, measure_workload

PARTS = [["projector"], ["projector", "llm"], ["vision", "projector", "llm"]]
ACTIVATION_FACTOR = 1.5
"""How far the estimate of activations may be from what a step on the CPU keeps, which pads for attention."""


@pytest.fixture
def data(corpus, tokens, images):
    return CorpusDataModule(
        corpus, "train", tokens, images, 8, seed=0, views=("answer", "extended"), extended_lm=True
    )  # fmt: skip


@pytest.fixture
def batch(data):
    return next(iter(data.train_dataloader()))


def exact_workload(batch):
    """The tokens of one batch."""
    passes = {"lm": batch.lm, "lm_extended": batch.lm_extended, **batch.texts}
    lengths = {name: texts.mask.sum(1).numpy() for name, texts in passes.items()}
    supervised = sum((texts.labels != IGNORE).sum(1).numpy() for texts in (batch.lm, batch.lm_extended))
    return Workload(len(batch.ids), lengths, supervised)


def loss_of(vlm, batch):
    conversations = {"lm": batch.lm, "lm_extended": batch.lm_extended}
    hidden, nodes = read_batch(vlm, vlm.encode_images(batch.images), conversations, batch.texts, batch.text_ids)
    losses = [vlm.lm_loss(hidden[name], texts) for name, texts in conversations.items()]
    return sum(losses) + sum(node.pooled.sum() for node in nodes.values())


@pytest.mark.parametrize("parts", PARTS, ids="+".join)
def test_operations_are_those_that_torch_counts(vlm, batch, parts):
    vlm.set_trainable(parts)
    load = exact_workload(batch)
    with FlopCounterMode(display=False) as counter:
        loss_of(vlm, batch).backward()
    estimate = step_flops(vlm, load, len(batch.ids))
    # torch does not count fused attention on the CPU: 2 T^2 D a layer forward, twice that backward
    attention = 3 * sum(2 * float((n.astype(float) ** 2).sum()) * 96 * 3 for n in load.lengths.values())
    assert estimate.total - attention == pytest.approx(counter.get_total_flops(), rel=0.04)
    again = step_flops(vlm, load, len(batch.ids), "full").again
    assert again < estimate.forward
    assert again > 0.8 * (estimate.forward if "vision" in parts else 0.8 * estimate.forward)


@pytest.mark.parametrize("parts", PARTS, ids="+".join)
def test_activations_are_within_the_stated_factor(vlm, batch, parts):
    vlm.set_trainable(parts)
    own = {p.untyped_storage().data_ptr() for p in (*vlm.parameters(), *vlm.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(vlm, batch)
    measured = sum(storage.nbytes() for storage in kept.values())
    del loss
    tokens = sum(int(lengths.sum()) for lengths in exact_workload(batch).lengths.values())
    whole = activation_bytes(shapes_of(vlm), len(batch.ids), tokens)
    assert measured / ACTIVATION_FACTOR < whole < measured * ACTIVATION_FACTOR
    selective, full = (activation_bytes(shapes_of(vlm), len(batch.ids), tokens, kind) for kind in ("selective", "full"))
    assert full < 0.5 * whole
    assert full < selective


@pytest.mark.parametrize("parts", PARTS, ids="+".join)
def test_weights_gradients_and_optimiser_are_exact(vlm, parts):
    head = ExGraHead()
    head.setup(vlm.width)
    vlm.set_trainable(parts)
    everything = nn.ModuleList([vlm, head])
    trained = [p for p in everything.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    for p in trained:
        p.grad = torch.ones_like(p)
    optimizer.step()
    states = state_bytes(shapes_of(vlm), head)
    assert states.weights == sum(t.nbytes for t in (*everything.parameters(), *everything.buffers()))
    assert states.gradients == sum(p.grad.nbytes for p in trained)
    assert states.optimizer == sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    half = state_bytes(vlm, half=True)
    assert half.gradients == 2 * sum(p.numel() for p in vlm.parameters() if p.requires_grad)


def test_shards_share_everything_but_a_frozen_tower(vlm):
    vlm.set_trainable(["projector", "llm"])
    one, four = state_bytes(vlm), state_bytes(vlm, shards=4)
    tower = sum(t.nbytes for t in (*vlm.vision.parameters(), *vlm.buffers()))
    assert four.weights - tower == pytest.approx((one.weights - tower) / 4, rel=0.01)
    assert four.optimizer == pytest.approx(one.optimizer / 4, rel=0.01)
    assert 0 < four.gathered < one.weights


@pytest.fixture(scope="module")
def llava_med():
    vlm, stand_in = build_skeleton(model_config("llava-med-7b"), (), stand_in=True)
    assert stand_in
    vlm.set_trainable(["projector", "llm"])
    return vlm


def test_the_7b_preset_costs_what_counting_by_hand_gives(llava_med):
    assert sum(p.numel() for p in llava_med.llm.parameters()) == 6_738_415_616
    assert {p.device.type for p in llava_med.parameters()} == {"meta"}
    tokens = np.array([506])
    plain = Workload(1, {"lm": tokens}, tokens)
    tower_and_projector = 2.6 + 0.5
    assert step_flops(llava_med, plain, 16).total / 1e12 == pytest.approx(324.2 + tower_and_projector, rel=0.005)
    assert step_flops(llava_med, plain, 16, "full").total / 1e12 == pytest.approx(
        430.1 + tower_and_projector, rel=0.005
    )
    texts = {"answer": np.array([150]), "extended": np.array([200])}
    both = Workload(1, {"lm": tokens, **texts}, tokens)
    extra = step_flops(llava_med, both, 16).total - step_flops(llava_med, plain, 16).total
    assert extra / 1e12 == pytest.approx(218.4, rel=0.005)


def test_adapters_train_little(vlm):
    options = replace(model_config("tiny", weights="random"), lora=LoraOptions(rank=2))
    skeleton, _ = build_skeleton(options, ["a lung"])
    skeleton.set_trainable(["llm"])
    trained = sum(p.numel() for p in skeleton.parameters() if p.requires_grad)
    assert 0 < trained < 0.1 * sum(p.numel() for p in skeleton.llm.parameters())
    assert state_bytes(skeleton).gradients == 4 * trained


def test_texts_that_take_a_cheaper_way_cost_less(vlm, batch):
    vlm.set_trainable(["projector", "llm"])
    load = exact_workload(batch)

    def cost(source):
        vlm.text_source = source
        return step_flops(vlm, load, 8)

    packed, pooled, frozen, truncated = map(cost, ("packed", "pooled", "frozen", "truncated"))
    assert truncated.total < frozen.total < packed.total
    assert pooled.total < packed.total
    assert frozen.forward == packed.forward


def test_the_workload_is_that_of_the_batches(data):
    load = measure_workload(data)
    data.batch_size = 24
    (batch,) = data.train_dataloader()
    exact = exact_workload(batch)
    assert load.conversations == 24
    assert load.lengths.keys() == exact.lengths.keys()
    # which of two turns with one answer is left out depends on their order
    for name, lengths in exact.lengths.items():
        assert load.lengths[name].sum() == pytest.approx(lengths.sum(), rel=0.03)
    assert load.supervised.sum() == pytest.approx(exact.supervised.sum(), rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": " "}, "the answer ' ' leaves no supervised token; give it a non-empty answer"),
        ({"extended": ""}, "give it a non-empty extended"),
        ({"question": "where </s>?"}, "special token '</s>'"),
        ({"question": "where " * 600}, "tokens with its image, model.max_length=512"),
    ],
)
def test_a_record_that_cannot_be_trained_on_is_found_among_all(corpus, tokens, images, change, message):
    *first, last = corpus.splits["train"]
    bad = replace(last, id="bad-one", answer_type="open", options=(), **change)
    broken = Corpus({**corpus.splits, "train": [*first, bad]}, corpus.load_image)
    with pytest.raises(DataError, match=r"record \S+: ") as error:
        measure_workload(CorpusDataModule(broken, "train", tokens, images, 8, seed=0, extended_lm=True))
    assert message in str(error.value)


@pytest.fixture
def estimate(vlm, data):
    config = ExperimentConfig(trainer=replace(ExperimentConfig().trainer, precision="bf16-mixed"))
    stage = Stage(StageConfig(steps=3, batch_size=8, train=["projector", "llm"]), data, 3)
    return estimate_stages(config, vlm, None, {"stage2": stage}, named_gpu("h100"))


def test_what_cannot_fit_is_refused_with_numbers_and_ways_out(estimate, vlm):
    assert all(p.device.type == "cpu" for p in vlm.parameters())
    (stage,) = estimate.stages.values()
    assert stage.seconds == pytest.approx(3 * stage.flops.total / (0.4 * 989e12))
    assert check_memory(estimate) == []
    small = Device("card", stage.states.total - 1)
    with pytest.raises(ConfigError, match=r"stage2 needs 0\.0 GiB .*weights .*model\.lora\.rank=64.*fsdp"):
        check_memory(RunEstimate(estimate.stages, small))
    assert check_memory(RunEstimate(estimate.stages, small), resident=stage.memory) == []
    (warning,) = check_memory(RunEstimate(estimate.stages, Device("card", stage.memory - 1)))
    assert "may run out of memory" in warning
    assert not math.isnan(stage.tokens)


def test_unknown_gpus_are_refused():
    with pytest.raises(ConfigError, match="--gpu h900: expected one of B200, H200"):
        named_gpu("h900")
