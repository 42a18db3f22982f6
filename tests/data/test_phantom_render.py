"""Pixels of the phantom: determinism, resolution, and what a change of one factor does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medgraph.config import PhantomConfig
from medgraph.data.phantom import AREAS, FINDINGS, MODALITIES, FactorSpace, render
from medgraph.data.phantom.factors import Nuisance
from medgraph.data.phantom.shapes import Grid, Tissue, TissueMap, texture

CALM = Nuisance(rotation=0, scale=1, shift_x=0, shift_y=0, contrast=1, brightness=0, noise=0, border=0)


@pytest.fixture(scope="module")
def factors():
    space = FactorSpace(PhantomConfig(num_modalities=7, num_areas=7, num_findings=7))
    return replace(space.draw(5), nuisance=CALM, size="large", severity="severe")


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_combination_renders_an_image(factors, modality):
    for area in AREAS:
        for finding in FINDINGS:
            image = render(replace(factors, modality=modality, area=area, finding=finding), 32)
            assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
            assert image.std() > 10
            assert image.flags.c_contiguous


@pytest.mark.parametrize("modality", MODALITIES)
def test_equal_factors_give_equal_pixels(factors, modality):
    noisy = replace(factors, modality=modality, nuisance=replace(CALM, noise=1.0))
    np.testing.assert_array_equal(render(noisy, 64), render(noisy, 64))
    assert (render(noisy, 64) != render(replace(noisy, index=6), 64)).mean() > 0.2


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_same_anatomy_appears_at_every_size(factors, modality):
    chosen = replace(factors, modality=modality, area="kidney", finding="mass")
    small = render(chosen, 64).astype(float)
    large = render(chosen, 192).reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.88


@pytest.mark.parametrize("finding", FINDINGS[1:])
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_finding_shows_in_its_quadrant(factors, modality, finding):
    for number, area in enumerate(AREAS):
        side, level = ("left", "right")[number % 2], ("upper", "lower")[number // 2 % 2]
        normal = replace(factors, modality=modality, area=area, finding="normal", side=side, level=level)
        change = render(replace(normal, finding=finding), 64).astype(float) - render(normal, 64)
        change = np.abs(change).mean(axis=2)
        columns = slice(0, 32) if side == "left" else slice(32, 64)
        rows = slice(0, 32) if level == "upper" else slice(32, 64)
        assert change.max() > 25, (area, side, level)
        assert change[:, columns].sum() > 0.6 * change.sum(), (area, side)
        if modality not in ("ultrasound", "mri"):  # acoustic shadows and phase ghosts spread downwards
            assert change[rows].sum() > 0.6 * change.sum(), (area, level)


def test_size_and_severity_change_the_finding(factors):
    normal = render(replace(factors, modality="ct", area="brain", finding="normal"), 64).astype(float)

    def change(**values) -> float:
        mass = replace(factors, modality="ct", area="brain", finding="mass", **values)
        return float(np.abs(render(mass, 64) - normal).sum())

    assert change(size="large") > 1.5 * change(size="small")
    assert change(severity="severe") > 1.1 * change(severity="moderate") > 1.1 * change(severity="mild")


def test_nuisance_changes_the_image_as_it_says(factors):
    brain = replace(factors, modality="mri", area="brain")
    brighter = replace(brain, nuisance=replace(CALM, brightness=0.04))
    assert 0 < (render(brighter, 64).astype(float) - render(brain, 64)).max() <= 11
    framed = render(replace(brain, modality="histology", nuisance=replace(CALM, border=0.05)), 64)
    assert not framed[:3].any()
    assert not framed[:, -3:].any()
    assert framed[4].any()


def test_a_side_too_small_is_refused(factors):
    with pytest.raises(ValueError, match="side=16 pixels cannot show"):
        render(factors, 16)


def grid(side: int) -> Grid:
    line = (np.arange(side) + 0.5) * 2 / side - 1
    y, x = np.meshgrid(line.astype(np.float32), line.astype(np.float32), indexing="ij")
    return Grid(x, y, 2 / side)


def test_coverage_integrates_to_the_area_of_an_ellipse():
    canvas = grid(64)
    covered = canvas.coverage(canvas.ellipse(0.1, -0.05, 0.5, 0.3, 0.4)).sum() * canvas.pixel**2
    assert covered == pytest.approx(np.pi * 0.5 * 0.3, rel=0.02)


@pytest.mark.parametrize("projected", [False, True])
def test_painting_keeps_fractions_that_sum_to_one(projected):
    tissue = TissueMap(grid(32), projected=projected)
    tissue.paint(tissue.grid.ellipse(0, 0, 0.8, 0.8), Tissue.FAT)
    tissue.paint(tissue.grid.capsule(-0.5, 0, 0.5, 0, 0.2), Tissue.BONE, depth=0.5)
    np.testing.assert_allclose(tissue.fractions.sum(axis=0), 1, atol=1e-6)
    assert tissue.fractions.min() >= 0
    centre = tissue.fractions[:, 16, 16]
    assert centre[Tissue.BONE] == pytest.approx(0.5 if projected else 1, abs=0.05)


def test_texture_has_unit_variance_and_follows_the_image_size():
    small, large = (texture(np.random.default_rng(0), (20, 20), (side, side)) for side in (60, 240))
    assert small.std() == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(large.reshape(60, 4, 60, 4).mean(axis=(1, 3)), small, atol=0.3)
