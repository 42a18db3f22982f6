"""No alignment: the control."""

from __future__ import annotations

import torch

from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput


class NoAlignmentHead(AlignmentHead):
    """Return zero, connected to the nodes, so that an arm without alignment runs the same code as one with it."""

    uses_tokens = False

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Return a zero loss whose gradient is zero for every node.

        Args:
            nodes: any input.

        Returns:
            A loss of 0 and no terms.
        """
        sums = [graph.pooled.sum() for graph in nodes.graphs().values()]
        return AlignmentOutput(0.0 * torch.stack(sums).sum())
