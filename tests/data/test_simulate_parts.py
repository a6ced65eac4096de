"""Parts of the simulation: fields, stain, outlines."""

import numpy as np
import pytest

from cellvit.data.simulate.architecture import Architecture, lay_out
from cellvit.data.simulate.nuclei import Site, random_nucleus
from cellvit.data.simulate.paint import paint_nuclei
from cellvit.data.simulate.stain import Palette, absorb
from cellvit.data.simulate.texture import Ellipse, fibre_noise, smooth_noise, soft_ellipses
from cellvit.taxonomy import NUCLEUS_CLASSES, NucleusClass

SHAPE = (96, 120)


@pytest.mark.parametrize("scale_px", [2.2, 7.0, 14.0, 40.0, 300.0])
def test_smooth_noise_fills_the_canvas_around_zero(scale_px: float) -> None:
    fields = np.stack([smooth_noise(np.random.default_rng(seed), SHAPE, scale_px) for seed in range(60)])

    assert fields.shape == (60, *SHAPE)
    assert abs(fields.mean()) < 0.15
    assert 0.5 < fields.std() < 1.2


def test_fibres_change_slowly_along_and_quickly_across() -> None:
    y, x = np.indices(SHAPE).astype(np.float32)

    fibres = fibre_noise(np.random.default_rng(0), x, y, (60.0, 5.0))

    assert np.abs(np.diff(fibres, axis=0)).mean() > 5 * np.abs(np.diff(fibres, axis=1)).mean()


@pytest.mark.parametrize("centre", [(-200.0, 10.0), (10.0, 500.0), (96.0, 120.0), (0.0, 0.0)])
def test_ellipse_covers_its_area_and_is_cut_at_the_border(centre: tuple[float, float]) -> None:
    coverage = soft_ellipses(SHAPE, [Ellipse(*centre, 9, 6, 0.3)])

    assert coverage.shape == SHAPE
    assert coverage.sum() < np.pi * 9 * 6
    whole = soft_ellipses(SHAPE, [Ellipse(48, 60, 20, 10, 0.7)], softness_px=0.5)
    assert whole.sum() == pytest.approx(np.pi * 20 * 10, rel=0.05)


def test_light_passes_without_dye_and_decreases_with_more_dye() -> None:
    palette = Palette((0, 0, 0), (0, 0, 0), (1, 1))
    amounts = (0.0, 0.5, 1.0)

    light = [absorb(np.full((4, 64, 64), a, np.float32), palette, np.random.default_rng(0)) for a in amounts]

    np.testing.assert_allclose(light[0], 1)
    assert (light[1] < light[0]).all()
    np.testing.assert_allclose(light[1] ** 2, light[2], rtol=1e-4)  # Beer-Lambert: twice the dye, twice the density


@pytest.mark.parametrize("architecture", Architecture)
def test_layouts_are_finite_and_have_the_compartments_of_their_name(architecture: Architecture) -> None:
    layout = lay_out(architecture, 128, np.random.default_rng(3))

    for field in (layout.depth, layout.along, layout.across, layout.fibre_angle(), layout.basal_angle()):
        assert field.shape == (128, 128)
        assert np.isfinite(field).all()
    if architecture in (Architecture.STROMA, Architecture.LYMPHOID):
        assert (layout.depth < 0).all()


@pytest.mark.parametrize("kind", NUCLEUS_CLASSES)
def test_painted_nucleus_is_marked_in_its_class_alone_and_the_given_planes_are_unchanged(kind: NucleusClass) -> None:
    rng = np.random.default_rng(0)
    nucleus = random_nucleus(kind, Site(48, 60, 10, 0.4), rng)
    blue, pink = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)

    painted = paint_nuclei(blue, pink, [nucleus], rng)

    channel = NUCLEUS_CLASSES.index(kind)
    inside = painted.labels[channel] == 1
    assert np.delete(painted.labels, channel, axis=0).max() == 0
    assert 0.6 * np.pi * 10**2 < inside.sum() < 1.4 * np.pi * 10**2
    assert painted.hematoxylin[inside].mean() > 10 * painted.hematoxylin[~inside].mean()
    assert not blue.any()
    assert (pink == 1).all()


def test_later_nucleus_is_painted_over_earlier_ones() -> None:
    rng = np.random.default_rng(0)
    nuclei = [random_nucleus(NucleusClass.EPITHELIAL, Site(48, x, 10, 0), rng) for x in (50, 60)]

    labels = paint_nuclei(np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32), nuclei, rng).labels

    assert labels[NUCLEUS_CLASSES.index(NucleusClass.EPITHELIAL), 48, 55] == 2
