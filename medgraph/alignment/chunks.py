"""Cut a batch into graphs of a given size: the published graph size is 16 nodes, whatever the batch size.

Letters: B nodes of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from medgraph.alignment.head import AlignmentInput, AlignmentOutput, NodeSet


def in_chunks(
    forward: Callable[[AlignmentInput], AlignmentOutput], nodes: AlignmentInput, graph_size: int
) -> AlignmentOutput:
    """Apply a loss to consecutive parts of the batch and average, weighted by their numbers of nodes.

    Args:
        forward: the loss of one graph.
        nodes: a batch of B nodes.
        graph_size: largest number of nodes of a graph; parts differ by one node at most.

    Returns:
        Loss and terms, averaged; the matches of all graphs as one table, in which graphs do not meet.
    """
    num_nodes = len(nodes.image.pooled)
    parts = torch.arange(num_nodes).tensor_split(-(-num_nodes // graph_size))
    outputs = []
    for part in parts:
        rows = slice(int(part[0]), int(part[-1]) + 1)
        texts = {name: take(text, rows) for name, text in nodes.texts.items()}
        entities = {name: codes[rows] for name, codes in nodes.entities.items()}
        outputs.append(forward(AlignmentInput(take(nodes.image, rows), texts, nodes.generator, entities)))
    weights = [len(part) / num_nodes for part in parts]
    terms = {
        name: torch.stack([w * output.terms[name] for w, output in zip(weights, outputs, strict=True)]).sum()
        for name in outputs[0].terms
    }
    loss = torch.stack([w * output.loss for w, output in zip(weights, outputs, strict=True)]).sum()
    tables = [output.matches for output in outputs if output.matches is not None]
    return AlignmentOutput(loss, terms, torch.block_diag(*tables) if len(tables) == len(outputs) else None)


def take(nodes: NodeSet, rows: slice) -> NodeSet:
    """A part of a node set."""
    tokens, mask, ids = (None if x is None else x[rows] for x in (nodes.tokens, nodes.mask, nodes.ids))
    return NodeSet(nodes.pooled[rows], tokens, mask, ids)
