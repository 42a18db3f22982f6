import numpy as np
import pytest

from medgraph.evaluation.retrieval import cosine_similarity, retrieval_points, score_retrieval


def test_points_equal_a_slow_reference(rng):
    scores, hits = rng.normal(size=(30, 12)), rng.random((30, 12)) < 0.3
    hits[:, 0] = True
    points = retrieval_points(scores, hits, ks=(1, 3))
    for i in range(30):
        ranked = [hits[i, j] for j in sorted(range(12), key=lambda j: -scores[i, j])]
        assert points["recall@3"][i] == any(ranked[:3])
        precisions = [sum(ranked[: place + 1]) / (place + 1) for place, hit in enumerate(ranked) if hit]
        assert points["map"][i] == pytest.approx(np.mean(precisions))


def test_copies_are_hits_and_ties_are_not(rng):
    nodes = np.eye(4)
    swapped = nodes[[1, 0, 2, 3]]
    apart = score_retrieval(nodes, swapped, ["a", "b", "c", "d"], rng, ks=(1,), resamples=50)["image_to_text"]
    assert apart["recall@1"].value == 0.5
    copies = score_retrieval(nodes, swapped, ["a", "a", "c", "d"], rng, ks=(1,), resamples=50)
    assert copies["image_to_text"]["recall@1"].value == copies["text_to_image"]["recall@1"].value == 1
    assert copies["image_to_text"]["chance@1"].value == pytest.approx((0.5 + 0.5 + 0.25 + 0.25) / 4)
    constant = score_retrieval(np.ones((4, 2)), np.ones((4, 2)), list("abcd"), rng, ks=(1,), resamples=50)
    assert constant["image_to_text"]["recall@1"].value == 0


def test_length_does_not_matter_and_bad_input_is_named():
    assert cosine_similarity([[2.0, 0.0]], [[5.0, 0.0], [0.0, 0.0]]).tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="1 queries have no relevant candidate, the first is number 1"):
        retrieval_points(np.zeros((2, 2)), [[1, 0], [0, 0]])
    with pytest.raises(ValueError, match="equal shapes"):
        retrieval_points(np.zeros((2, 2)), np.zeros((2, 3)))
