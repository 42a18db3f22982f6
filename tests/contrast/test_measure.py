from __future__ import annotations

import numpy as np
import pytest
import torch

from medgraph.config import PhantomConfig
from medgraph.contrast.data import pairs_in
from medgraph.contrast.measure import (
    encode_images,
    encode_texts,
    linear_probes,
    measure_split,
    retrieval,
    take_labels,
)
from medgraph.contrast.options import ContrastConfig
from medgraph.contrast.zero_shot import zero_shot, zero_shot_points
from medgraph.data.loading import ImageCache
from medgraph.evaluation.probes import Features


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_images_are_where_the_encoder_puts_them(corpus, encoder):
    images = [pair.record.image for pair in pairs_in(corpus, ["test"], "extended")]
    load = ImageCache(corpus, encoder.image_size)
    features, shared = encode_images(encoder, load, images)
    assert features.shape == (8, 96)
    pixels = torch.stack([torch.from_numpy(load(image)).permute(2, 0, 1) for image in images])
    expected = encoder.encode_images(pixels).pooled.detach().numpy()
    np.testing.assert_allclose(shared / np.linalg.norm(shared, axis=1, keepdims=True), expected, atol=1e-6)


def test_classes_are_told_apart_within_their_pool_and_ties_share_the_point():
    scores = {"a": np.array([0.1, 0.9, 0.5]), "b": np.array([0.2, 0.1, 0.5]), "c": np.array([0.9, 0.9, 0.9])}
    pools = {"x": ["a", "b"], "y": ["a", "b", "c"]}
    points, chance = zero_shot_points(scores.__getitem__, pools, [("x", "b"), ("y", "a"), ("x", "b")])
    np.testing.assert_allclose(points, [1, 0.5, 0.5])
    np.testing.assert_allclose(chance, [1 / 2, 1 / 3, 1 / 2])


def test_an_encoder_that_sees_nothing_classifies_by_chance(corpus, encoder):
    records = [pair.record for pair in pairs_in(corpus, ["test"], "extended")]
    known = corpus.splits["train"]
    prompts = ["{}", "this image shows {}"]
    # words that the tokenizer does not know make all classes equal
    words = {name: "zzz" for record in known for name in (record.triplet.modality, record.label)}
    found = zero_shot(encoder, np.random.default_rng(1).normal(size=(len(records), 96)), records, known, prompts,
                      words, rng(), 10)  # fmt: skip
    assert set(found) == {"zero_shot_label", "zero_shot_modality", "zero_shot_area"}
    for name in ("zero_shot_label", "zero_shot_modality"):
        assert found[name].value == pytest.approx(found[name].chance)
    assert found["zero_shot_modality"].chance == pytest.approx(1 / len({r.triplet.modality for r in known}))


def test_prompts_that_are_the_images_classify_them(corpus, encoder):
    records = [pair.record for pair in pairs_in(corpus, ["test"], "extended")]
    shared = encode_texts(encoder, [record.triplet.modality for record in records])
    found = zero_shot(encoder, shared, records, corpus.splits["train"], ["{}"], {}, rng(), 10)
    assert found["zero_shot_modality"].value == 1


def test_texts_find_their_images_and_copies_of_a_text_are_right(corpus):
    pairs = pairs_in(corpus, ["test"], "extended")
    pairs = [*pairs, pairs[0]]
    nodes = np.eye(len(pairs))
    swapped = nodes.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    for texts in (nodes, swapped):
        found = retrieval(nodes, texts, pairs, rng(), 10)
        assert all(each.value == 1 for each in found.values())
    assert set(found) == {f"{way}_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    blind = retrieval(np.ones((9, 2)), np.ones((9, 2)), pairs, rng(), 10)
    assert blind["image_to_text_1"].value == 0  # ties count against the model
    assert blind["image_to_text_1"].chance == pytest.approx((7 * 1 / 9 + 2 * 2 / 9) / 9)


def test_shares_of_labels_are_nested_and_keep_every_class():
    y = np.repeat([0, 1, 2], [200, 100, 5])
    few, more, everything = (take_labels(y, share, rng()) for share in (0.01, 0.1, 1.0))
    assert np.bincount(y[few]).tolist() == [2, 1, 1]
    assert np.bincount(y[more]).tolist() == [20, 10, 1]
    assert set(few) <= set(more)
    np.testing.assert_array_equal(everything, np.arange(len(y)))


def test_more_labels_make_a_better_probe():
    source = rng()
    y = np.arange(300) % 3

    def split(labels):
        x = np.eye(3)[labels] @ source_map + source.normal(size=(len(labels), 6))
        return Features(x, labels, [str(i) for i in range(len(labels))])

    source_map = 2 * source.normal(size=(3, 6))
    found = linear_probes(split(y), split(y[:60]), split(y[:150]), seed=0, resamples=5)
    assert set(found) == {f"linear_{kind}{share}" for kind in ("", "auroc_") for share in (1, 10, 100)}
    assert found["linear_1"].value < found["linear_100"].value
    assert found["linear_auroc_1"].value < found["linear_auroc_100"].value
    assert "3 labels (1%)" in found["linear_1"].title


def test_figures_of_a_split_do_not_depend_on_other_splits(corpus, encoder):
    config = ContrastConfig(data=PhantomConfig())
    first = measure_split(encoder, corpus, config, "test", 5)
    assert measure_split(encoder, corpus, config, "test", 5) == first
    assert {each.n for name, each in first.items() if "_to_" in name} == {8}
