"""Projectors from the vision tower's width to the language model's."""

from __future__ import annotations

from torch import nn


def build_projector(kind: str, width_in: int, width_out: int) -> nn.Sequential:
    """Build a projector that maps (…, width_in) to (…, width_out).

    Args:
        kind: ``linear`` (LLaVA), or ``mlp2x_gelu`` (LLaVA-1.5), ``mlp3x_gelu`` ….
        width_in: features of the tower.
        width_out: features of the language model.

    Raises:
        ValueError: for another kind.

    Example:
        >>> build_projector("mlp2x_gelu", 8, 16)
        Sequential(
          (0): Linear(in_features=8, out_features=16, bias=True)
          (1): GELU(approximate='none')
          (2): Linear(in_features=16, out_features=16, bias=True)
        )
    """
    depth = kind.removeprefix("mlp").removesuffix("x_gelu")
    layers = 1 if kind == "linear" else int(depth) if depth.isdigit() else 0
    if layers < 1 or (layers == 1 and kind != "linear"):
        raise ValueError(f"model.projector={kind}: expected linear or mlpNx_gelu with N >= 2")
    modules: list[nn.Module] = [nn.Linear(width_in, width_out)]
    for _ in range(layers - 1):
        modules += [nn.GELU(), nn.Linear(width_out, width_out)]
    return nn.Sequential(*modules)
