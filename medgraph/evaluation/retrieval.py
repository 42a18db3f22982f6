"""Retrieval between images and texts: recall at k and mean average precision, where copies count as hits.

Letters: N queries, M candidates, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.estimate import Estimate, estimate_means
from medgraph.evaluation.statistics import Floats


def cosine_similarity(queries: npt.ArrayLike, candidates: npt.ArrayLike) -> Floats:
    """(N, D) and (M, D) vectors to their (N, M) cosines; a zero vector is similar to nothing."""
    a, b = (np.asarray(vectors, dtype=np.float64) for vectors in (queries, candidates))
    norms = [np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12) for vectors in (a, b)]
    similarity: Floats = (a / norms[0]) @ (b / norms[1]).T
    return similarity


def retrieval_points(
    similarity: npt.ArrayLike, relevant: npt.ArrayLike, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, Floats]:
    """Values of each query that recall at k and mAP average.

    Ties are broken against the model: of equally similar candidates the irrelevant ones come first, so that a constant
    similarity retrieves nothing.

    Args:
        similarity: (N, M) scores.
        relevant: (N, M) whether a candidate answers the query; several may, such as copies of one text.
        ks: cut-offs.

    Returns:
        ``recall@k``: (N,) 1 where a relevant candidate is among the first k, and ``map``: (N,) average precision.

    Raises:
        ValueError: for other shapes, or a query without a relevant candidate.

    Example:
        >>> points = retrieval_points([[0.9, 0.8, 0.1]], [[0, 1, 1]], ks=(1, 2))
        >>> {name: round(float(values[0]), 2) for name, values in points.items()}
        {'recall@1': 0.0, 'recall@2': 1.0, 'map': 0.58}
    """
    scores, hits = np.asarray(similarity, dtype=np.float64), np.asarray(relevant, dtype=bool)
    if scores.shape != hits.shape or scores.ndim != 2:
        raise ValueError(
            f"similarity and relevant need equal shapes (queries, candidates), got {scores.shape} and {hits.shape}"
        )
    if (lost := np.flatnonzero(~hits.any(axis=1))).size:
        raise ValueError(
            f"{lost.size} queries have no relevant candidate, the first is number {lost[0]}; leave them out"
        )
    order = np.lexsort((hits, -scores), axis=1)
    ranked = np.take_along_axis(hits, order, axis=1)
    places = np.arange(1, ranked.shape[1] + 1)
    precision = ranked.cumsum(axis=1) / places
    points: dict[str, Floats] = {f"recall@{k}": np.array(ranked[:, :k].any(axis=1), dtype=np.float64) for k in ks}
    points["map"] = (precision * ranked).sum(axis=1) / ranked.sum(axis=1)
    return points


def score_retrieval(
    images: npt.ArrayLike,
    texts: npt.ArrayLike,
    content: Sequence[str],
    rng: np.random.Generator,
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
) -> dict[str, dict[str, Estimate]]:
    """Retrieve texts by image and images by text, from the nodes of a model.

    Args:
        images: (N, D) image nodes.
        texts: (N, D) text nodes, row i about image i.
        content: (N,) text of each row: rows with equal texts answer each other.
        rng: source of the resamples.
        ks: cut-offs.
        resamples: of the bootstrap over queries.

    Returns:
        ``image_to_text`` and ``text_to_image``, each with ``recall@k``, ``map`` and ``chance@k`` (recall of a random
        order), with intervals.
    """
    similarity = cosine_similarity(images, texts)
    names = np.asarray(content)
    relevant = names[:, None] == names[None]
    results = {}
    for name, scores in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        points = retrieval_points(scores, relevant, ks)
        hits = relevant.sum(axis=1)
        points |= {f"chance@{k}": _chance(hits, len(names), k) for k in ks}
        results[name] = estimate_means(points, [str(i) for i in range(len(names))], rng, resamples)
    return results


def _chance(hits: npt.NDArray[np.int64], total: int, k: int) -> Floats:
    """Chance that k of ``total`` candidates drawn at random contain one of the hits."""
    from scipy import stats

    missed = np.asarray(stats.hypergeom(total, hits, min(k, total)).pmf(0), dtype=np.float64)
    return np.asarray(1 - missed)
