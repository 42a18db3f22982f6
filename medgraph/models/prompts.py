"""Dynamic visual prompts: a few parameters that read each image's features and add to them, in a frozen tower.

DVPT (arXiv:2307.09787) transforms features through a bottleneck, lets learnt prompts attend to them, which makes the
prompts specific to the image, projects them up and aggregates them with the features. The paper leaves open how one
prompt reaches many tokens, and its release computes the attention without using it; here tokens attend to the prompts.

Letters: B images, T tokens, D width of the tower, R width of the bottleneck, M prompts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.config import ConfigError, PromptOptions
from medgraph.models.vision import VisionTower, tower_blocks


class DynamicPrompts(nn.Module):
    r"""What is added to the tokens X that enter a block.

    .. math::
        X' = \mathrm{GELU}(W_\downarrow \mathrm{LN}(X)), \quad A = \mathrm{softmax}(P X'^\top / \sqrt R)\, X', \quad
        X + W_\uparrow\, \mathrm{softmax}(X' A^\top / \sqrt R)\, A

    LN has no parameters: it makes the size of a tower's features irrelevant. The upper projection starts at zero, so
    that new prompts change nothing.

    Args:
        width: D.
        bottleneck: R.
        prompts: M.
    """

    def __init__(self, width: int, bottleneck: int, prompts: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        self.prompts = nn.Parameter(torch.randn(prompts, bottleneck))
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to (B, T, D) tokens."""
        scale = math.sqrt(self.prompts.shape[1])
        low = F.gelu(self.down(F.layer_norm(tokens, tokens.shape[-1:])))  # (B, T, R)
        read = torch.softmax(self.prompts @ low.mT / scale, dim=-1) @ low  # (B, M, R)
        return self.up(torch.softmax(low @ read.mT / scale, dim=-1) @ read)

    def before_block(self, block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Forward pre-hook of a transformer block, whose first argument are its tokens."""
        if not args:
            return args, options | {"hidden_states": self.add(options["hidden_states"])}
        return (self.add(args[0]), *args[1:]), options

    def add(self, tokens: Tensor) -> Tensor:
        """Tokens with what is added to them."""
        return tokens + self(tokens)


def add_prompts(tower: nn.Module, options: PromptOptions) -> None:
    """Put dynamic prompts before the blocks of a tower, as its part ``prompts``; a count of 0 changes nothing.

    Training the tower then trains the prompts alone (`MedVLM.trained_parameters`).

    Args:
        tower: a `VisionTower`; changed in place.
        options: how many, how wide, and how many blocks share them.

    Raises:
        ConfigError: for a tower without transformer blocks, or the tower of a whole model.
    """
    if not options.prompts:
        return
    blocks = tower_blocks(tower.model) if isinstance(tower, VisionTower) else []
    if not len(blocks):
        kind = type(tower.model if isinstance(tower, VisionTower) else tower).__name__
        raise ConfigError(f"model.dvpt.prompts={options.prompts}: {kind} has no transformer blocks of one size to put "
                          "them before; choose a vision transformer in model.vision")  # fmt: skip
    width = int(tower.model.config.hidden_size)  # type: ignore[union-attr, arg-type]
    groups = [
        DynamicPrompts(width, options.width, options.prompts) for _ in range(math.ceil(len(blocks) / options.share))
    ]
    tower.add_module("prompts", nn.ModuleList(groups))
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(groups[number // options.share].before_block, with_kwargs=True)
