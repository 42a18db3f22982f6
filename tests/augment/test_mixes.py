import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.functional import one_hot

from medgraph.augment.base import Mix, soft_cross_entropy
from medgraph.augment.pairs import CutMix, SnapMix, cut_mix, draw_box, mix_up, percent_maps, snap_mix
from medgraph.augment.registry import MIXES, register_mix
from medgraph.augment.single import AugMix, CropMix, jensen_shannon, random_crop
from medgraph.config import ConfigError, mix_config

NAMES = list(MIXES)
SHIFT = torch.tensor([1, 2, 3, 4, 5, 0])


def batch(size=6):
    generator = torch.Generator().manual_seed(size)
    return torch.rand(size, 3, 20, 30, generator=generator), one_hot(torch.arange(size) % 4, 4).float()


def maps(images, targets):
    """A coarse map that depends on image and class."""
    return F.avg_pool2d(images.mean(1), 5) - targets.argmax(1).view(-1, 1, 1)


@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("name", NAMES)
def test_every_mix_keeps_the_range_and_is_a_function_of_its_generator(name, size):
    images, targets = batch(size)
    before = images.clone(), targets.clone()
    for seed in range(5):
        mixed, soft = MIXES[name]()(images, targets, np.random.default_rng(seed), maps)
        again = MIXES[name]()(images, targets, np.random.default_rng(seed), maps)
        versions = 3 if name == "augmix" else 1
        assert mixed.shape == (versions * size, 3, 20, 30)
        assert soft.shape == (versions * size, 4)
        assert mixed.isfinite().all()
        assert soft.isfinite().all()
        assert mixed.min() >= 0
        assert mixed.max() <= 1 + 1e-6
        assert soft.min() >= 0
        if name != "snapmix":
            torch.testing.assert_close(soft.sum(1), torch.ones(len(soft)))
        assert torch.equal(mixed, again[0])
        assert torch.equal(soft, again[1])
    torch.testing.assert_close((images, targets), before, rtol=0, atol=0)
    loss = MIXES[name]().loss(torch.zeros(versions * size, 4), soft)
    assert loss.item() == pytest.approx(math.log(4) * soft[:size].sum(1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_every_mix_changes_images_and_other_draws_change_them_in_another_way(name):
    images, targets = batch()
    first, second = (MIXES[name]()(images, targets, np.random.default_rng(seed), maps)[0][-6:] for seed in (0, 1))
    assert not torch.equal(first, images)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["none", "augmix", "cropmix", "yoco"])
def test_mixes_of_an_image_with_itself_keep_its_label_and_do_not_look_at_others(name):
    images, targets = batch()
    mixed, soft = MIXES[name]()(images, targets, np.random.default_rng(0))
    assert torch.equal(soft[:6], targets)
    others = images.clone()
    others[3:] = 0
    torch.testing.assert_close(MIXES[name]()(others, targets, np.random.default_rng(0))[0][:3], mixed[:3])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_follows_its_formula(share):
    images, targets = batch()
    mixed, soft = mix_up(images, targets, SHIFT, share)
    for i, j in enumerate(SHIFT):
        torch.testing.assert_close(mixed[i], share * images[i] + (1 - share) * images[j])
        torch.testing.assert_close(soft[i], share * targets[i] + (1 - share) * targets[j])
    if share == 1:
        assert torch.equal(mixed, images)
        assert torch.equal(soft, targets)


@pytest.mark.parametrize("seed", range(6))
def test_cutmix_pastes_one_box_and_weights_labels_by_its_pixels(seed):
    numbers = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 20, 30) / 6
    targets = torch.eye(6)
    mixed, soft = CutMix()(numbers, targets, np.random.default_rng(seed))
    for i in range(6):
        counts = [(mixed[i, 0] == numbers[j, 0, 0, 0]).float().mean() for j in range(6)]
        torch.testing.assert_close(soft[i], torch.stack(counts))
        foreign = (mixed[i, 0] != numbers[i, 0]).numpy()
        rows, columns = np.flatnonzero(foreign.any(1)), np.flatnonzero(foreign.any(0))
        assert foreign.sum() == len(rows) * len(columns)


def test_boxes_have_the_area_that_the_share_leaves_and_an_empty_one_changes_nothing():
    images, targets = batch()
    empty = slice(4, 4), slice(0, 30)
    for result in (
        cut_mix(images, targets, SHIFT, empty),
        snap_mix(images, targets, SHIFT, empty, empty, images[:, 0]),
    ):
        torch.testing.assert_close(result, (images, targets), rtol=0, atol=0)
    large = torch.zeros(1, 1, 1000, 1000)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(50):
        rows, columns = draw_box(large, 1.0, rng)
        side = 1000 * (1 - again.beta(1, 1)) ** 0.5
        for interval, centre in zip((rows, columns), again.uniform(0, 1000, 2), strict=True):
            assert 0 <= interval.start <= interval.stop <= 1000
            assert interval.start == pytest.approx(max(0, centre - side / 2), abs=1.5)
            assert interval.stop == pytest.approx(min(1000, centre + side / 2), abs=1.5)


def test_snapmix_equals_its_definition():
    images, targets = batch()
    percent = percent_maps(maps(images, targets), images)
    covered, covering = (slice(2, 9), slice(5, 20)), (slice(0, 16), slice(10, 14))
    mixed, soft = snap_mix(images, targets, SHIFT, covered, covering, percent)
    for i, j in enumerate(SHIFT):
        kept = sum(percent[i, y, x] for y in range(20) for x in range(30) if not (2 <= y < 9 and 5 <= x < 20))
        added = sum(percent[j, y, x] for y in range(16) for x in range(10, 14))
        torch.testing.assert_close(soft[i], kept * targets[i] + added * targets[j])
        patch = F.interpolate(images[j : j + 1, :, 0:16, 10:14], (7, 15), mode="bilinear")[0]
        torch.testing.assert_close(mixed[i, :, 2:9, 5:20], patch)
        outside = torch.ones(20, 30, dtype=bool)
        outside[2:9, 5:20] = False
        assert torch.equal(mixed[i][:, outside], images[i][:, outside])
    assert (soft.sum(1) - 1).abs().max() > 0.01  # unlike CutMix


def test_percent_maps_sum_to_one_and_constant_maps_count_by_area():
    images, _ = batch(3)
    raw = torch.stack([torch.full((4, 6), 5.0), torch.zeros(4, 6), torch.arange(24.0).view(4, 6) - 30])
    percent = percent_maps(raw, images)
    torch.testing.assert_close(percent.sum((1, 2)), torch.ones(3))
    torch.testing.assert_close(percent[:2], torch.full((2, 20, 30), 1 / 600))
    assert percent[2].min() == 0
    assert percent[2].max() == percent[2, -1, -1]


def test_snapmix_of_equal_maps_and_boxes_is_cutmix():
    images, targets = batch()
    box = slice(3, 12), slice(0, 11)
    flat = torch.full((6, 20, 30), 1 / 600)
    torch.testing.assert_close(snap_mix(images, targets, SHIFT, box, box, flat), cut_mix(images, targets, SHIFT, box))


def test_snapmix_asks_for_maps_of_the_images_as_they_are():
    images, targets = batch()
    asked = []
    SnapMix()(images, targets, np.random.default_rng(0), lambda *given: (asked.append(given), maps(*given))[1])
    assert torch.equal(asked[0][0], images)
    with pytest.raises(ValueError, match="snapmix weights labels by class activation maps; pass maps"):
        SnapMix()(images, targets, np.random.default_rng(0))


def test_crops_have_the_area_and_aspect_that_were_drawn():
    y, x = torch.meshgrid(torch.linspace(0, 1, 200), torch.linspace(0, 1, 200), indexing="ij")
    image = torch.stack([y, x])[None]
    rng = np.random.default_rng(0)
    aspects = []
    for area in np.linspace(0.1, 0.5, 20):
        crop = random_crop(image, area, rng)[0]
        high, wide = (crop[i].max() - crop[i].min() for i in (0, 1))
        assert high * wide == pytest.approx(area, rel=0.05)
        aspects.append((wide / high).item())
    assert min(aspects) > 0.7
    assert max(aspects) < 1.4


def test_cropmix_of_crops_that_are_nearly_whole_stays_near_the_image():
    slope = torch.linspace(0, 1, 20).view(1, 1, 1, 20).expand(2, 3, 20, 20)
    mixed, _ = CropMix(crops=3, scale=1.0)(slope, batch(2)[1], np.random.default_rng(0))
    assert (mixed - slope).abs().max() < 0.2
    mixed, _ = CropMix(crops=3, scale=0.01)(slope, batch(2)[1], np.random.default_rng(0))
    assert (mixed - slope).abs().max() > 0.3


def test_augmix_without_its_second_term_is_one_blend():
    images, targets = batch()
    mix = AugMix(consistency=0.0)
    mixed, soft = mix(images, targets, np.random.default_rng(0))
    assert torch.equal(soft, targets)
    assert torch.equal(mixed, mix.blend(images, np.random.default_rng(0)))
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mix.loss(logits, targets), soft_cross_entropy(logits, targets))


def test_augmix_adds_the_divergence_of_its_versions_to_the_loss_of_the_images():
    _, targets = batch()
    logits = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    p = logits.softmax(-1)
    mean = p.mean(0)
    expected = sum((p[v, b] * (p[v, b] / mean[b]).log()).sum() for v in range(3) for b in range(6)) / 18
    torch.testing.assert_close(jensen_shannon(logits), expected)
    loss = AugMix().loss(logits.flatten(0, 1), targets.repeat(3, 1))
    torch.testing.assert_close(loss, F.cross_entropy(logits[0], targets) + 12 * expected)
    assert jensen_shannon(logits[:1].expand(3, 6, 4)).item() == pytest.approx(0, abs=1e-6)
    certain = torch.eye(3).view(3, 1, 3) * 1e4
    divergence = jensen_shannon(certain.requires_grad_())
    assert divergence.item() == pytest.approx(math.log(3), rel=1e-5)


def test_soft_cross_entropy_equals_torch_and_takes_weights_of_any_sum():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 1, 1, 2])
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(soft_cross_entropy(logits, one_hot(labels).float()), expected)
    torch.testing.assert_close(soft_cross_entropy(logits, 0.3 * one_hot(labels)), 0.3 * expected)


def test_wrong_input_and_names():
    images, targets = batch()
    with pytest.raises(ValueError, match="one-hot encode class numbers"):
        Mix()(images, torch.arange(6), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"images are torch\.uint8: expected floats"):
        Mix()(images.byte(), targets, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="mix=cutmux: no such mix; did you mean 'cutmix'"):
        mix_config("cutmux")
    with pytest.raises(ConfigError, match="mix=yoco has no option 'alpha'"):
        mix_config("yoco", alpha=1.0)
    with pytest.raises(ValueError, match="mix 'none' is Mix already"):
        register_mix(Mix)
