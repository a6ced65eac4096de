"""Simulated tiles and their parts: PanNuke's layout, the colours of H&E, too difficult for a threshold."""

import numpy as np
import pytest
from scipy import ndimage

from cellvit.data.simulate.architecture import Architecture, lay_out
from cellvit.data.simulate.nuclei import MOST_NUCLEI, Site, random_nucleus
from cellvit.data.simulate.organs import PROFILES
from cellvit.data.simulate.paint import paint_nuclei
from cellvit.data.simulate.scanner import absorb
from cellvit.data.simulate.texture import Ellipse, fibre_noise, smooth_noise, soft_ellipses
from cellvit.data.simulate.tile import SimulatedTile, simulate_tile
from cellvit.errors import ContractError
from cellvit.hover.classical import segment_classical
from cellvit.hover.relabel import paint_channels
from cellvit.metrics.overlap import aji
from cellvit.taxonomy import BACKGROUND_CHANNEL, NUCLEUS_CLASSES, ORGANS, TILE_PX, NucleusClass

SHAPE = (96, 120)
TILES_PER_ORGAN = 2


@pytest.fixture(scope="module")
def tiles() -> list[SimulatedTile]:
    seeds = [(seed, number) for seed in range(TILES_PER_ORGAN) for number in range(len(ORGANS))]
    return [simulate_tile(ORGANS[number], np.random.default_rng([seed, number])) for seed, number in seeds]


@pytest.fixture(scope="module")
def nuclei(tiles: list[SimulatedTile]) -> dict[NucleusClass, list[np.ndarray]]:
    """Pixels (rows, columns) of every nucleus of all tiles, by class."""
    return {
        kind: [
            np.argwhere(plane == label)
            for plane in (tile.masks[..., channel] for tile in tiles)
            for label in np.unique(plane[plane > 0])
        ]
        for channel, kind in enumerate(NUCLEUS_CLASSES)
    }


def test_tiles_have_pannukes_shapes_and_values_and_unique_ids_with_gaps(tiles: list[SimulatedTile]) -> None:
    with_gaps = 0
    for image, masks in tiles:
        planes, background = np.split(np.moveaxis(masks, -1, 0), [BACKGROUND_CHANNEL])
        assert (image.shape, image.dtype) == ((TILE_PX, TILE_PX, 3), np.uint8)
        assert masks.shape == (TILE_PX, TILE_PX, BACKGROUND_CHANNEL + 1)
        assert masks.min() == 0
        np.testing.assert_array_equal(background[0], ~planes.any(0))
        ids = np.concatenate([np.unique(plane[plane > 0]) for plane in planes])
        assert len(ids) == len(np.unique(ids)) <= MOST_NUCLEI
        with_gaps += len(ids) > 1 and ids.max() > len(ids)
    assert with_gaps > 0.9 * len(tiles)
    assert np.mean([tile.masks[0, :, :BACKGROUND_CHANNEL].any() for tile in tiles]) > 0.5  # nuclei at the border


def test_some_nuclei_touch_and_some_of_different_classes_overlap_a_little(tiles: list[SimulatedTile]) -> None:
    painted = [paint_channels(tile.masks[..., :BACKGROUND_CHANNEL]) for tile in tiles]

    merged = sum(one.instances.max() - ndimage.label(one.instances > 0)[1] for one in painted)
    assert merged > len(tiles)
    assert 0 < sum(one.overlap_px for one in painted) < 0.01 * sum((one.instances > 0).sum() for one in painted)


def test_coverage_number_and_classes_of_nuclei_are_those_of_pannuke(tiles: list[SimulatedTile], nuclei) -> None:
    coverage = np.mean([tile.masks[..., BACKGROUND_CHANNEL] == 0 for tile in tiles])
    counts = {kind: len(pixels) for kind, pixels in nuclei.items()}

    assert 0.10 < coverage < 0.20
    assert 15 < sum(counts.values()) / len(tiles) < 40
    assert min(counts.values()) > 0
    assert max(counts, key=counts.__getitem__) is NucleusClass.NEOPLASTIC
    assert min(counts, key=counts.__getitem__) is NucleusClass.DEAD


def test_classes_differ_in_size_and_shape(nuclei: dict[NucleusClass, list[np.ndarray]]) -> None:
    area, elongation = {}, {}
    for kind, each in nuclei.items():
        pixels = [pixel for pixel in each if len(pixel) > 40]
        area[kind] = np.median([len(pixel) for pixel in pixels])
        spreads = [np.linalg.eigvalsh(np.cov(pixel.T)) for pixel in pixels]
        elongation[kind] = np.median([np.sqrt(large / max(small, 1e-9)) for small, large in spreads])

    assert area[NucleusClass.NEOPLASTIC] > area[NucleusClass.EPITHELIAL] > area[NucleusClass.INFLAMMATORY]
    assert area[NucleusClass.DEAD] < area[NucleusClass.INFLAMMATORY]
    assert max(elongation, key=elongation.__getitem__) is NucleusClass.CONNECTIVE


def test_nuclei_are_bluer_and_darker_than_their_surroundings(tiles: list[SimulatedTile]) -> None:
    outside, inside = (
        np.concatenate([image[masks[..., BACKGROUND_CHANNEL] == background] for image, masks in tiles]).mean(0)
        for background in (1, 0)
    )

    assert (inside < outside).all()
    assert inside[2] - inside[0] > outside[2] - outside[0]


def test_organs_differ_in_colour_by_more_than_their_own_tiles_do() -> None:
    def colour(organ: str) -> np.ndarray:
        return np.array([simulate_tile(organ, np.random.default_rng(i)).image.mean((0, 1)) for i in range(6)])

    testis, skin = colour("Testis"), colour("Skin")

    assert np.linalg.norm(testis.mean(0) - skin.mean(0)) > 1.5 * max(testis.std(0).max(), skin.std(0).max())


def test_threshold_and_watershed_fail_on_simulated_tiles(tiles: list[SimulatedTile]) -> None:
    truths = [paint_channels(masks[..., :BACKGROUND_CHANNEL]).instances for _, masks in tiles]

    scores = [aji(truth, segment_classical(tile.image)) for truth, tile in zip(truths, tiles, strict=True)]

    assert 0.2 < np.nanmean(scores) < 0.5


@pytest.mark.parametrize("organ", ["Breast", "Skin"])
def test_empty_tile_has_tissue_and_no_nucleus(organ: str) -> None:
    tile = simulate_tile(organ, np.random.default_rng(0), empty=True)

    assert not tile.masks[..., :BACKGROUND_CHANNEL].any()
    assert tile.masks[..., BACKGROUND_CHANNEL].all()
    assert tile.image.std() > 5


def test_unknown_organ_is_refused_with_the_valid_organs() -> None:
    with pytest.raises(ContractError, match="Bile-duct"):
        simulate_tile("Bile_duct", np.random.default_rng(0))


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


def test_ellipse_covers_its_area_and_is_cut_at_the_border() -> None:
    whole = soft_ellipses(SHAPE, [Ellipse(48, 60, 20, 10, 0.7)], softness_px=0.5)

    assert whole.sum() == pytest.approx(np.pi * 20 * 10, rel=0.05)
    for centre in ((-200.0, 10.0), (10.0, 500.0), (96.0, 120.0), (0.0, 0.0)):
        coverage = soft_ellipses(SHAPE, [Ellipse(*centre, 9, 6, 0.3)], softness_px=1.0)
        assert coverage.shape == SHAPE
        assert coverage.sum() < np.pi * 9 * 6


def test_light_passes_without_dye_and_decreases_with_more_dye() -> None:
    amounts = (0.0, 0.5, 1.0)

    light = [absorb(np.full((4, 64, 64), a, np.float32), PROFILES["Colon"], np.random.default_rng(0)) for a in amounts]

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


def canvas() -> np.ndarray:
    """Dyes without hematoxylin, with eosin and blood everywhere."""
    return np.stack([np.full(SHAPE, amount, np.float32) for amount in (0, 1, 1, 0)])


@pytest.mark.parametrize("kind", NUCLEUS_CLASSES)
def test_painted_nucleus_is_marked_in_its_class_alone_and_the_given_dyes_are_unchanged(kind: NucleusClass) -> None:
    rng, given = np.random.default_rng(0), canvas()

    dyes, labels = paint_nuclei(given, [random_nucleus(kind, Site(48, 60, 10, 0.4), rng)], rng)

    channel = NUCLEUS_CLASSES.index(kind)
    inside = labels[channel] == 1
    assert np.delete(labels, channel, axis=0).max() == 0
    assert 0.6 * np.pi * 10**2 < inside.sum() < 1.4 * np.pi * 10**2
    assert dyes[0][inside].mean() > 10 * dyes[0][~inside].mean()
    np.testing.assert_array_equal(dyes[2], ~inside)  # no blood over a nucleus
    np.testing.assert_array_equal(given, canvas())


def test_later_nucleus_is_painted_over_earlier_ones() -> None:
    rng = np.random.default_rng(0)
    nuclei = [random_nucleus(NucleusClass.EPITHELIAL, Site(48, x, 10, 0), rng) for x in (50, 60)]

    _, labels = paint_nuclei(canvas(), nuclei, rng)

    assert labels[NUCLEUS_CLASSES.index(NucleusClass.EPITHELIAL), 48, 55] == 2
