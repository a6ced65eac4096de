import math

import numpy as np
import pytest

from cellvit.evaluation.selection import ImageOfTile, MapsOfTile, values_of_image, values_of_maps
from cellvit.evaluation.system_scores import perfect_maps
from cellvit.hover.parameters import Classical, HoverNetWatershed, HvFlow
from cellvit.inference.predictions import Segmentation

TOUCHING = [(60, 60, 12, 1), (60, 83, 12, 1), (150, 150, 10, 3)]
NOTHING_LEFT = HoverNetWatershed(min_object_px=100_000)


@pytest.fixture
def tile(disc_tiles):
    """Perfect maps of a tile with these discs, to be decoded with these points."""

    def make(discs, *points) -> MapsOfTile:
        batch = perfect_maps(disc_tiles([discs]))
        truth = Segmentation(batch.tiles.instances[0], batch.tiles.classes[0])
        return MapsOfTile(truth, batch.np_prob[0], batch.hv[0], batch.most_probable_class[0], points, 5)

    return make


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
def test_each_point_has_its_value_on_the_tile(tile, select_by) -> None:
    right, wrong = values_of_maps(select_by, tile(TOUCHING, HvFlow(), NOTHING_LEFT))

    assert right > 0.95
    assert wrong == 0


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
def test_a_tile_without_nuclei_has_no_value(tile, select_by) -> None:
    assert np.isnan(values_of_maps(select_by, tile([], HvFlow(), HoverNetWatershed()))).all()


def test_nuclei_on_an_empty_tile_count_in_aji_and_not_in_the_protocol_of_pannuke(tile) -> None:
    empty = Segmentation(np.zeros((256, 256), np.int32), np.zeros((256, 256), np.uint8))
    false = tile(TOUCHING, HvFlow())._replace(truth=empty)

    assert values_of_maps("aji", false).tolist() == [0]
    assert math.isnan(values_of_maps("bpq", false)[0])


def test_wrong_classes_count_in_mpq_alone(tile) -> None:
    right = tile(TOUCHING, HvFlow())
    wrong = right._replace(nt_class=np.where(right.nt_class == 1, 2, right.nt_class).astype(np.uint8))

    assert values_of_maps("bpq", wrong) == values_of_maps("bpq", right)
    assert values_of_maps("mpq", wrong) < 0.6 * values_of_maps("mpq", right)


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
def test_the_classical_baseline_has_a_value_for_each_point(disc_tiles, select_by) -> None:
    tiles = disc_tiles([[(60, 60, 12, 1), (150, 150, 10, 1)]])
    points = (Classical(), Classical(otsu_factor=50))

    task = ImageOfTile(Segmentation(tiles.instances[0], tiles.classes[0]), tiles.image[0], 1, points, 5)
    right, wrong = values_of_image(select_by, task)

    assert right > 0.7
    assert wrong == 0
