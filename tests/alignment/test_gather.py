from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from medgraph.alignment import HEADS, head_class
from medgraph.alignment.gather import global_batch
from medgraph.alignment.head import AlignmentHead, AlignmentInput, NodeSet
from medgraph.alignment.memory import NodeMemory

SIZE, DIM, RANKS = 4, 8, 2
SETTINGS = [
    *((name, {}, 0) for name in sorted(HEADS)),
    ("exgra", {"graph_size": SIZE, "edge_weight": 0.2}, 0),
    ("exgra", {"preset": "official"}, 0),
    ("infonce", {}, 5),
    ("exgra", {"edge_weight": 0.2}, 5),
]
SHARDED = [SETTINGS[-1], ("siglip", {}, 0)]


class Model(nn.Module):
    """A model and a head in one: nodes are a linear map of the data."""

    def __init__(self, name: str, options: dict, queue: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(DIM, DIM)
        self.head: AlignmentHead = head_class(name)(**options)
        self.head.setup(DIM)
        self.memory = NodeMemory(queue)
        self.noise = torch.Generator().manual_seed(0)

    def forward(self, views: list[tuple[torch.Tensor, torch.Tensor | None]], ids: torch.Tensor) -> torch.Tensor:
        graphs = []
        for tokens, mask in views:
            encoded = self.encoder(tokens)
            weight = torch.ones_like(encoded[..., :1]) if mask is None else mask.unsqueeze(-1)
            graphs.append(NodeSet((encoded * weight).sum(1) / weight.sum(1), encoded, mask, ids))
        entities = {name: ids % (2 + number) for number, name in enumerate(("modality", "area", "task", "label"))}
        nodes = AlignmentInput(graphs[0], {"answer": graphs[1], "extended": graphs[2]}, self.noise, entities)
        return self.head(self.memory.extend(global_batch(nodes, self.head.uses_tokens))).loss


def data(step: int):
    """Views of the global batch; samples 1 and 6, of different ranks, are the same; the texts of rank 0 are shorter."""
    generator = torch.Generator().manual_seed(step)
    total = SIZE * RANKS
    views: list[tuple[torch.Tensor, torch.Tensor | None]] = [(torch.randn(total, 3, DIM, generator=generator), None)]
    lengths = torch.tensor([1, 2, 3, 3, 5, 2, 4, 5])
    mask = torch.arange(5) < lengths.unsqueeze(1)
    views += [(torch.randn(total, 5, DIM, generator=generator), mask) for _ in range(2)]
    ids = torch.arange(total) + 10 * step
    ids[6] = ids[1]
    return views, ids


def part(step: int, rank: int):
    """What one rank loads: its rows, padded to its own longest text."""
    views, ids = data(step)
    rows = slice(SIZE * rank, SIZE * (rank + 1))
    longest = 3 if rank == 0 else 5
    own = [(t[rows], None) if m is None else (t[rows, :longest], m[rows, :longest]) for t, m in views]
    return own, ids[rows]


def train(model: nn.Module, batches) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of some batches and the sum of their gradients."""
    losses = []
    for views, ids in batches:
        loss = model(views, ids)
        loss.backward()
        losses.append(loss.item())
    gradients = {name.removeprefix("module."): p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in gradients.items()}


def work(rank: int, store: str, results: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    batches = [part(step, rank) for step in range(2)]
    found = [train(DistributedDataParallel(Model(*setting)), batches) for setting in SETTINGS]
    for setting in SHARDED:
        sharded = Model(*setting)
        fully_shard(sharded)
        found.append(train(sharded, batches))
    uneven = AlignmentInput(NodeSet(torch.ones(2 + rank, DIM)), {})
    with pytest.raises(ValueError, match=r"batches of \[2, 3\] nodes"):
        global_batch(uneven)
    torch.save(found, f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_have_the_loss_and_gradients_of_one_process_with_the_joint_batch(tmp_path):
    """Every head, duplicates across ranks, texts of different lengths, chunks and memory; each rank on its own half."""
    mp.spawn(work, (str(tmp_path / "store"), str(tmp_path)), nprocs=RANKS)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    for number, setting in enumerate([*SETTINGS, *SHARDED]):
        losses, gradients = train(Model(*setting), [data(step) for step in range(2)])
        for found in ranks:
            assert found[number][0] == pytest.approx(losses, rel=1e-5, abs=1e-7), setting
            assert found[number][1].keys() == gradients.keys(), setting
            for name, gradient in gradients.items():
                torch.testing.assert_close(
                    found[number][1][name], gradient, rtol=2e-4, atol=1e-6, msg=str((setting, name))
                )


def test_one_process_keeps_its_nodes():
    nodes = AlignmentInput(NodeSet(torch.ones(3, DIM)), {})
    assert global_batch(nodes) is nodes


def test_a_group_of_one_keeps_its_nodes(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    nodes = AlignmentInput(NodeSet(torch.ones(3, DIM)), {})
    assert global_batch(nodes) is nodes


def test_tokens_and_mask_are_filled_up(tmp_path, monkeypatch):
    """A stand-in for two equal ranks, except that the other one has longer texts."""

    def gather(tensor):
        if tensor.shape == (1, 3):
            return torch.stack([tensor[0], tensor[0] + torch.tensor([0, 0, 2])])
        return torch.cat([tensor, tensor])

    monkeypatch.setattr("medgraph.alignment.gather._gather", gather)
    monkeypatch.setattr("medgraph.alignment.gather.dist.is_initialized", lambda: True)
    monkeypatch.setattr("medgraph.alignment.gather.dist.get_world_size", lambda: 2)
    image = NodeSet(torch.ones(2, DIM), torch.ones(2, 3, DIM), None, torch.tensor([1, 2]))
    mask = torch.tensor([[True, False], [True, True]])
    text = NodeSet(torch.ones(2, DIM), torch.ones(2, 2, DIM), mask)
    nodes = AlignmentInput(image, {"answer": text}, torch.Generator(), {"area": torch.tensor([4, -1])})
    joint = global_batch(nodes)
    answer = joint.texts["answer"]
    assert answer.tokens is not None
    assert answer.mask is not None
    assert joint.image.tokens is not None
    assert joint.image.tokens.shape == (4, 3, DIM)
    assert answer.tokens.shape == (4, 4, DIM)
    assert answer.mask.sum(1).tolist() == [1, 2, 1, 2]
    assert answer.ids is None
    assert joint.image.ids is not None
    assert joint.image.ids.tolist() == [1, 2, 1, 2]
    assert joint.entities["area"].tolist() == [4, -1, 4, -1]
    assert joint.generator is nodes.generator
    assert global_batch(nodes, tokens=False).texts["answer"].tokens is None


@pytest.mark.parametrize("name", sorted(HEADS))
def test_heads_say_truly_whether_they_use_tokens(name):
    views, ids = data(0)
    losses = []
    for tokens in (True, False):
        model = Model(name, {})
        if not tokens:
            full = model.head.forward

            def without(nodes, full=full):
                for graph in nodes.graphs().values():
                    graph.tokens = graph.mask = None
                return full(nodes)

            model.head.forward = without
        losses.append(model(views, ids).item())
    assert (losses[0] != losses[1]) == model.head.uses_tokens
