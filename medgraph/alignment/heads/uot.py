"""Unbalanced token-level transport: tokens without a counterpart need not be moved."""

from __future__ import annotations

from medgraph.alignment.heads.ot import TokenOTHead


class TokenUOTHead(TokenOTHead):
    r"""Token-level transport with soft marginals, as in Dude (arXiv:2407.04489).

    .. math:: T^* = \arg\min_T \langle T, 1 - \cos \rangle - \epsilon\, \text{entropy}(T)
        + \rho\, \mathrm{KL}(T 1 \| a) + \rho\, \mathrm{KL}(T^\top 1 \| b)

    Everything else as :class:`TokenOTHead`.

    Args:
        mass_penalty: ρ in (0, inf); small values move only what is similar.
        epsilon: ε of the entropy, in (0, inf).
        iterations: scaling iterations.
        temperature: of the logits at the start.
        symmetric: both directions; False keeps image → text only.
    """

    def __init__(
        self,
        mass_penalty: float = 1.0,
        epsilon: float = 0.1,
        iterations: int = 100,
        temperature: float = 0.1,
        symmetric: bool = True,
    ) -> None:
        super().__init__(epsilon, iterations, temperature, symmetric)
        if mass_penalty <= 0:
            raise ValueError(f"mass_penalty={mass_penalty} must be positive; large values are balanced transport")
        self.mass_penalty = mass_penalty
