"""The nodes of all ranks as one batch, so that the alignment loss is that of the global batch.

Letters: W ranks, B nodes of a rank, T tokens, D width.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.head import AlignmentInput, NodeSet


def global_batch(nodes: AlignmentInput, tokens: bool = True) -> AlignmentInput:
    """Gather the nodes of all ranks, differentiably; in a single process the nodes as they are.

    Every rank then computes the same loss of all W·B nodes, and backward sums over the ranks what they send to a node.
    So before any averaging, a parameter of the head has the gradient of the loss of the joint batch, and a node W times
    that gradient. DDP, FSDP and FSDP2 average gradients over the ranks, after which every parameter, of head and model,
    has the gradient that one process with the joint batch computes.

    Args:
        nodes: the B nodes of this rank. Every rank has the same B, the same views and entities, and its generator in
            the same state, so that all draw the same noise. ``ids`` and ``entities`` must mean the same on all ranks,
            as hashes of the content do and row numbers do not.
        tokens: gather the tokens as well, padded to the longest T of all ranks; False leaves them out.

    Returns:
        W·B nodes, rank by rank.

    Raises:
        ValueError: if the ranks have batches of different sizes.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return nodes
    graphs = {n: graph if tokens else NodeSet(graph.pooled, ids=graph.ids) for n, graph in nodes.graphs().items()}
    lengths = [0 if graph.tokens is None else graph.tokens.shape[1] for graph in graphs.values()]
    sizes = torch.tensor([len(nodes.image.pooled), *lengths], device=nodes.image.pooled.device)
    table = _gather(sizes.unsqueeze(0))
    if (table[:, 0] != table[0, 0]).any():
        raise ValueError(f"the ranks have batches of {table[:, 0].tolist()} nodes; drop the last batch of an epoch")
    longest = table[:, 1:].amax(0).tolist()
    gathered = {n: _gather_nodes(graph, length) for (n, graph), length in zip(graphs.items(), longest, strict=True)}
    entities = {name: _gather(codes) for name, codes in nodes.entities.items()}
    return AlignmentInput(gathered.pop("image"), gathered, nodes.generator, entities)


def _gather_nodes(nodes: NodeSet, length: int) -> NodeSet:
    """Gather a node set, its tokens filled up to the given length."""
    pooled, ids = _gather(nodes.pooled), None if nodes.ids is None else _gather(nodes.ids)
    if nodes.tokens is None:
        return NodeSet(pooled, ids=ids)
    missing = length - nodes.tokens.shape[1]
    mask = torch.ones_like(nodes.tokens[..., 0], dtype=torch.bool) if nodes.mask is None else nodes.mask
    return NodeSet(pooled, _gather(F.pad(nodes.tokens, (0, 0, 0, missing))), _gather(F.pad(mask, (0, missing))), ids)


def _gather(tensor: Tensor) -> Tensor:
    """(B, …) of this rank to (W·B, …); backward sums over the ranks."""
    from torch.distributed import _functional_collectives as functional

    group = dist.group.WORLD
    assert group is not None
    return functional.wait_tensor(functional.all_gather_single(tensor.contiguous(), 0, group))
