"""Simulated tiles: PanNuke's layout, equal from equal seeds, the colours of H&E, too difficult for a threshold."""

import numpy as np
import pytest
from scipy import ndimage

from cellvit.data.simulate.nuclei import KINDS
from cellvit.data.simulate.organs import PROFILES
from cellvit.data.simulate.population import MOST_NUCLEI
from cellvit.data.simulate.tile import SimulatedTile, simulate_tile
from cellvit.errors import ContractError
from cellvit.hover.classical import segment_classical
from cellvit.hover.relabel import paint_channels
from cellvit.metrics.overlap import aji
from cellvit.taxonomy import BACKGROUND_CHANNEL, NUCLEUS_CLASSES, ORGANS, TILE_PX, NucleusClass

TILES_PER_ORGAN = 2


@pytest.fixture(scope="module")
def tiles() -> list[SimulatedTile]:
    return [
        simulate_tile(organ, np.random.default_rng([seed, number]))
        for seed in range(TILES_PER_ORGAN)
        for number, organ in enumerate(ORGANS)
    ]


def nuclei_by_class(tile: SimulatedTile) -> dict[NucleusClass, list[np.ndarray]]:
    """Pixels (rows, columns) of every nucleus."""
    return {
        kind: [np.argwhere(plane == label) for label in np.unique(plane[plane > 0])]
        for kind, plane in zip(NUCLEUS_CLASSES, np.moveaxis(tile.masks, -1, 0), strict=False)
    }


def test_every_organ_has_a_profile() -> None:
    assert set(PROFILES) == set(ORGANS)
    assert set(KINDS) == set(NUCLEUS_CLASSES)


def test_image_and_masks_have_pannukes_shapes_and_values(tiles: list[SimulatedTile]) -> None:
    for tile in tiles:
        assert tile.image.shape == (TILE_PX, TILE_PX, 3)
        assert tile.image.dtype == np.uint8
        assert tile.masks.shape == (TILE_PX, TILE_PX, BACKGROUND_CHANNEL + 1)
        assert tile.masks.min() == 0
        np.testing.assert_array_equal(
            tile.masks[..., BACKGROUND_CHANNEL], ~tile.masks[..., :BACKGROUND_CHANNEL].any(-1)
        )
    assert np.mean([tile.masks[0, :, :BACKGROUND_CHANNEL].any() for tile in tiles]) > 0.5  # nuclei at the border


def test_ids_are_unique_in_a_tile_and_have_gaps(tiles: list[SimulatedTile]) -> None:
    with_gaps = 0
    for tile in tiles:
        ids = [np.unique(plane[plane > 0]) for plane in np.moveaxis(tile.masks[..., :BACKGROUND_CHANNEL], -1, 0)]
        together = np.concatenate(ids)
        assert len(together) == len(np.unique(together)) <= MOST_NUCLEI
        with_gaps += len(together) > 1 and together.max() > len(together)
    assert with_gaps > 0.9 * len(tiles)


def test_some_nuclei_touch_and_some_of_different_classes_overlap_a_little(tiles: list[SimulatedTile]) -> None:
    painted = [paint_channels(tile.masks[..., :BACKGROUND_CHANNEL]) for tile in tiles]

    merged = sum(one.instances.max() - ndimage.label(one.instances > 0)[1] for one in painted)
    assert merged > len(tiles)
    assert 0 < sum(one.overlap_px for one in painted) < 0.01 * sum((one.instances > 0).sum() for one in painted)


def test_coverage_and_number_of_nuclei_are_those_of_pannuke(tiles: list[SimulatedTile]) -> None:
    coverage = np.mean([tile.masks[..., BACKGROUND_CHANNEL] == 0 for tile in tiles])
    counts = [len(np.unique(tile.masks[..., :BACKGROUND_CHANNEL])) - 1 for tile in tiles]

    assert 0.10 < coverage < 0.20
    assert 15 < np.mean(counts) < 40


def test_every_class_occurs_and_neoplastic_is_the_commonest(tiles: list[SimulatedTile]) -> None:
    counts = {kind: sum(len(nuclei_by_class(tile)[kind]) for tile in tiles) for kind in NUCLEUS_CLASSES}

    assert min(counts.values()) > 0
    assert max(counts, key=counts.__getitem__) is NucleusClass.NEOPLASTIC
    assert min(counts, key=counts.__getitem__) is NucleusClass.DEAD


def test_classes_differ_in_size_and_shape(tiles: list[SimulatedTile]) -> None:
    area: dict[NucleusClass, float] = {}
    elongation: dict[NucleusClass, float] = {}
    for kind in NUCLEUS_CLASSES:
        pixels = [pixel for tile in tiles for pixel in nuclei_by_class(tile)[kind] if len(pixel) > 40]
        area[kind] = float(np.median([len(pixel) for pixel in pixels]))
        spreads = [np.linalg.eigvalsh(np.cov(pixel.T)) for pixel in pixels]
        elongation[kind] = float(np.median([np.sqrt(large / max(small, 1e-9)) for small, large in spreads]))

    assert area[NucleusClass.NEOPLASTIC] > area[NucleusClass.EPITHELIAL] > area[NucleusClass.INFLAMMATORY]
    assert area[NucleusClass.DEAD] < area[NucleusClass.INFLAMMATORY]
    assert max(elongation, key=elongation.__getitem__) is NucleusClass.CONNECTIVE


def test_nuclei_are_bluer_and_darker_than_their_surroundings(tiles: list[SimulatedTile]) -> None:
    inside = np.concatenate([tile.image[tile.masks[..., BACKGROUND_CHANNEL] == 0] for tile in tiles]).mean(0)
    outside = np.concatenate([tile.image[tile.masks[..., BACKGROUND_CHANNEL] == 1] for tile in tiles]).mean(0)

    assert (inside < outside).all()
    assert inside[2] - inside[0] > outside[2] - outside[0]


def test_organs_differ_in_colour_by_more_than_their_own_tiles_do() -> None:
    def colour(organ: str) -> np.ndarray:
        return np.array([simulate_tile(organ, np.random.default_rng(i)).image.mean((0, 1)) for i in range(6)])

    testis, skin = colour("Testis"), colour("Skin")

    assert np.linalg.norm(testis.mean(0) - skin.mean(0)) > 1.5 * max(testis.std(0).max(), skin.std(0).max())


def test_threshold_and_watershed_fail_on_simulated_tiles(tiles: list[SimulatedTile]) -> None:
    scores = [
        aji(paint_channels(tile.masks[..., :BACKGROUND_CHANNEL]).instances, segment_classical(tile.image))
        for tile in tiles
    ]

    assert 0.2 < np.nanmean(scores) < 0.5


@pytest.mark.parametrize("organ", ["Colon", "Thyroid", "Lung"])
def test_same_generator_state_gives_the_same_tile(organ: str) -> None:
    one, other, third = (simulate_tile(organ, np.random.default_rng(seed)) for seed in (5, 5, 6))

    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.masks, other.masks)
    assert (one.image != third.image).any()


@pytest.mark.parametrize("organ", ["Breast", "Skin"])
def test_empty_tile_has_tissue_and_no_nucleus(organ: str) -> None:
    tile = simulate_tile(organ, np.random.default_rng(0), empty=True)

    assert not tile.masks[..., :BACKGROUND_CHANNEL].any()
    assert tile.masks[..., BACKGROUND_CHANNEL].all()
    assert tile.image.std() > 5


def test_unknown_organ_is_refused_with_the_valid_organs() -> None:
    with pytest.raises(ContractError, match="Bile-duct"):
        simulate_tile("Bile_duct", np.random.default_rng(0))
