"""Measure what the graph matching of LVM-Med costs within a step of pre-training.

    python benchmarks/pretraining.py [--towers tiny small] [--rounds 15] [--json] [--check]

A step is forward, backward, clipping and optimiser on two views of 64 images, in graphs of 16; the matching part is the
loss behind the projections and the feature maps, and its gradient to them. One thread, CPU time, measured in turn,
medians. ``--check`` exits with 1 if a bar is missed; it is for the published settings, which draw noise once a step.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from common import Bar, Row, finish, interleave, options, ratio

from medgraph.config import ModelConfig
from medgraph.models.build import build_vision
from medgraph.pretraining.losses import EncodedViews
from medgraph.pretraining.module import PretrainModule
from medgraph.pretraining.options import OFFICIAL, MatchingOptions, PretrainConfig

PUBLISHED = MatchingOptions(**OFFICIAL)
SHARE_BAR = 0.15  # of the tiny tower


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--towers", nargs="+", default=["tiny"], metavar="NAME", help="of random weights")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    settings = PUBLISHED, MatchingOptions()
    configs = (PretrainConfig(vision=tower, matching=matching) for tower in args.towers for matching in settings)
    finish(args, (measure(config, args.rounds) for config in configs))


def measure(config: PretrainConfig, rounds: int) -> Row:
    """A whole step, and its matching part."""
    step, matching, cells = parts(config)
    seconds = interleave({"step": step, "matching": matching}, rounds)
    share = ratio(seconds, "matching", "step")
    figures = {f"ms_{name}": 1e3 * statistics.median(values) for name, values in seconds.items()} | {"share": share}
    published = config.matching == PUBLISHED
    bars = [Bar("matching part / step", share, SHARE_BAR)] if published and config.vision == "tiny" else []
    whose = "published settings" if published else f"our settings, {config.matching.num_samples} samples of noise"
    what = f"{config.vision} tower, {cells} cells, B = {config.batch_size}, {whose}"
    return Row(what, figures, bars)


def parts(config: PretrainConfig) -> tuple[Callable[[], None], Callable[[], None], int]:
    """A whole step, its matching part, and the cells of a feature map."""
    torch.manual_seed(0)
    tower = build_vision(ModelConfig(vision=config.vision, weights="random", vision_layer=-1))
    module = PretrainModule(tower, config)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, config.lr, fused=True)
    pixels = torch.randint(256, (2, config.batch_size, 3, tower.image_size, tower.image_size), dtype=torch.uint8)
    corners = 0.4 * torch.rand(2, config.batch_size, 2)
    views = EncodedViews(
        projected=torch.empty(0), maps=torch.empty(0),
        boxes=torch.cat([corners, corners + 0.6], -1), flips=torch.rand(2, config.batch_size) < 0.5,
        image_ids=torch.arange(config.batch_size), generator=module.noise,
    )  # fmt: skip

    def step() -> None:
        views.projected, views.maps = module.branch(pixels)
        optimizer.zero_grad()
        module.loss(views)[0].backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()

    with torch.no_grad():
        encoded = module.branch(pixels)

    def matching() -> None:
        views.projected, views.maps = (tensor.detach().requires_grad_() for tensor in encoded)
        module.loss(views)[0].backward()

    return step, matching, encoded[1].shape[2]


if __name__ == "__main__":
    main()
