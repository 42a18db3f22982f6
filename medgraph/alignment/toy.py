"""A toy world to try alignment losses in: seconds tell whether a head aligns anything at all.

Letters: B samples of a batch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medgraph.alignment.graph import standardize
from medgraph.alignment.head import AlignmentHead, AlignmentInput, NodeSet

LATENT, VIEW, NODE = 8, 24, 16  # widths
TRAIN, TEST, VIEWS = 500, 100, 3
CHANCE = 1 / TEST


class ToyWorld:
    """Three views of one latent through different random linear maps, with noise; the first one is the image.

    Entities are signs of latent coordinates: 2 modalities, 8 areas, 8 labels, 2 tasks.

    Args:
        seed: of the world.
        noise: standard deviation of the noise in every coordinate of a view; the signal has 2.8.
    """

    def __init__(self, seed: int = 0, noise: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(seed)
        latent = torch.randn(TRAIN + TEST, LATENT, generator=generator)
        maps = torch.randn(VIEWS, LATENT, VIEW, generator=generator)
        self.views = latent @ maps + noise * torch.randn(VIEWS, TRAIN + TEST, VIEW, generator=generator)
        bits = (latent > 0).long() << torch.tensor([0, 0, 1, 2, 0, 1, 2, 0])
        columns = {"modality": slice(0, 1), "area": slice(1, 4), "label": slice(4, 7), "task": slice(7, 8)}
        self.entities = {name: bits[:, column].sum(1) for name, column in columns.items()}
        self.generator = generator

    def batch(self, encoders: nn.ModuleList, rows: Tensor) -> AlignmentInput:
        """Encode samples: one linear encoder a view."""
        image, *texts = (NodeSet(encoder(view[rows])) for encoder, view in zip(encoders, self.views, strict=True))
        entities = {name: codes[rows] for name, codes in self.entities.items()}
        return AlignmentInput(image, {f"text{i}": text for i, text in enumerate(texts)}, self.generator, entities)


def noisy_views(num_nodes: int = 16, noise: float = 1.0, num_groups: int = 4, seed: int = 0) -> AlignmentInput:
    """A batch that needs no encoder: image, answer and extended answer see the same nodes, each with noise of its own.

    Args:
        num_nodes: B.
        noise: standard deviation in every coordinate, beside 1.4 of the signal; 0 makes equal views.
        num_groups: clusters that the nodes lie in, their ``modality``.
        seed: of nodes, noise, and the generator of the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(num_nodes) % num_groups
    nodes = torch.randn(num_groups, NODE, generator=generator)[group]
    nodes = nodes + torch.randn(num_nodes, NODE, generator=generator)
    image, *texts = nodes + noise * torch.randn(VIEWS, num_nodes, NODE, generator=generator)
    views = dict(zip(("answer", "extended"), map(NodeSet, texts), strict=True))
    return AlignmentInput(NodeSet(image), views, generator, {"modality": group})


@dataclass(frozen=True, slots=True)
class ToyResult:
    """What a head reached on 100 samples it was not trained on; chance is 0.01.

    Attributes:
        recall: share of images whose nearest text node, by centred cosine, is their own; the mean over the texts.
        match_accuracy: the same by the head's own measure, in the space it compares in; nan if it has none.
        step_ms: mean CPU time of a training step in milliseconds, encoders and optimizer included.
    """

    recall: float
    match_accuracy: float
    step_ms: float


def align_toy_world(head: AlignmentHead, seed: int = 0, steps: int = 80, batch_size: int = 16) -> ToyResult:
    """Train linear encoders with nothing but a head, and look at samples that it has not seen.

    Args:
        head: fresh, not set up.
        seed: of the world, of all weights and of all noise. Leaves torch's global generator alone.
        steps: of Adam at learning rate 0.01; 0 shows where training starts.
        batch_size: B.

    Example:
        >>> from medgraph.alignment.heads.infonce import InfoNCEHead
        >>> align_toy_world(InfoNCEHead(), steps=40).recall > 0.5
        True
    """
    world = ToyWorld(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head.setup(NODE)
        encoders = nn.ModuleList(nn.Linear(VIEW, NODE) for _ in range(VIEWS))
    optimizer = torch.optim.Adam([*encoders.parameters(), *head.parameters()], lr=1e-2)
    begin = time.process_time()
    for _ in range(steps):
        rows = torch.randint(TRAIN, (batch_size,), generator=world.generator)
        optimizer.zero_grad()
        head(world.batch(encoders, rows)).loss.backward()
        optimizer.step()
    step_ms = 1e3 * (time.process_time() - begin) / max(1, steps)
    head.eval()
    with torch.no_grad():
        nodes = world.batch(encoders, torch.arange(TRAIN, TRAIN + TEST))
        image, *texts = (standardize(graph.pooled) for graph in nodes.graphs().values())
        right = torch.stack([(image @ text.T).argmax(1) == torch.arange(TEST) for text in texts])
        own = head(nodes).terms.get("match_accuracy", torch.tensor(torch.nan))
    return ToyResult(right.float().mean().item(), own.item(), step_ms)
