import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from annotations import RIGHT, without_annotation

from cellvit.evaluation.gallery import choose_tiles, gallery_tiles
from cellvit.evaluation.system_scores import perfect_maps
from cellvit.formats.gallery import GalleryTile
from cellvit.formats.tile_table import TileScores
from cellvit.hover.parameters import HoverNetWatershed

NAN = float("nan")


@pytest.fixture
def decoder(scored) -> Callable[..., TileScores]:
    """Tiles with the given AJI."""

    def make(aji: list[float], n_true: list[int] | None = None) -> TileScores:
        return scored(["Colon"] * len(aji), aji=aji, n_true=n_true or [5] * len(aji))

    return make


@pytest.mark.parametrize(
    ("aji", "per_rank", "expected"),
    [
        pytest.param([0.5, 0.1, 0.9, 0.7, 0.3], 1, [("best", 2), ("median", 0), ("worst", 1)], id="one_per_rank"),
        pytest.param(
            [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            2,
            [("best", 7), ("best", 6), ("median", 4), ("median", 3), ("worst", 0), ("worst", 1)],
            id="two_per_rank",
        ),
        pytest.param([0.4], 2, [("best", 0)], id="one_tile"),
        pytest.param([0.4, 0.2], 2, [("best", 0), ("worst", 1)], id="two_tiles"),
        pytest.param([0.4, 0.2, 0.3, 0.1], 2, [("best", 0), ("median", 2), ("worst", 3)], id="four_tiles"),
        pytest.param([0.3, 0.3, 0.3], 1, [("best", 2), ("median", 1), ("worst", 0)], id="equal_by_id"),
        pytest.param([], 2, [], id="no_tile"),
    ],
)
def test_best_median_and_worst_tiles_are_chosen_by_aji_and_none_twice(decoder, aji, per_rank, expected) -> None:
    chosen = choose_tiles(decoder(aji), per_rank=per_rank)

    assert tuple(one for one in chosen if one[1] != "random") == tuple(
        (f"f3-{row:05d}", rank) for rank, row in expected
    )


def test_tiles_without_true_nuclei_have_no_rank_but_can_be_in_the_random_sample(decoder) -> None:
    first, second = choose_tiles(decoder([0.0, NAN, 0.6], n_true=[NAN, 0, 5]), per_rank=1)

    assert first == ("f3-00002", "best")
    assert second == ("f3-00001", "random")  # the first tile is not scored


def test_the_random_sample_depends_on_the_ids_alone_and_spreads_over_all_values(decoder) -> None:
    aji = np.linspace(0, 1, 200)

    samples = [
        {name for name, rank in choose_tiles(decoder(list(values)), per_rank=20) if rank == "random"}
        for values in (aji, 0.5 + 0.001 * aji)
    ]

    assert samples[0] == samples[1]
    assert len(samples[0]) == 20
    assert 0.3 < aji[[int(name[-5:]) for name in samples[0]]].mean() < 0.7


@pytest.fixture
def shown(disc_tiles, decoder) -> GalleryTile:
    """The picture of a tile of which the decoder missed a nucleus; the classical baseline has no second tile."""
    truth = disc_tiles([[(60, 60, 12, 1)], [(60, 60, 12, 1), (150, 150, 10, 3)]])
    maps = perfect_maps(truth)
    maps.np_prob[1, 120:] = 0
    scores = {"decoder": decoder([0.2, 0.8]), "classical": decoder([0.4])}
    chosen = (("f3-00000", "best"), ("f3-00001", "worst"))
    _, second = gallery_tiles(chosen, scores, [maps], HoverNetWatershed())
    return second


def test_a_tile_has_its_scores_by_system_and_the_numbers_of_nuclei(shown: GalleryTile) -> None:
    assert (shown.tile_id, shown.organ, shown.rank) == ("f3-00001", "Colon", "worst")
    assert (shown.n_true, shown.n_predicted) == (2, 1)
    assert shown.aji == {"decoder": 0.8}


def test_a_tile_has_contours_by_class_and_outcome_and_four_maps_with_descriptions(shown: GalleryTile) -> None:
    assert [(one.class_number, one.outcome, one.n_nuclei) for one in shown.truth] == [
        (1, "matched", 1),
        (3, "missed", 1),
    ]
    assert [(one.class_number, one.outcome, one.n_nuclei) for one in shown.predicted] == [(1, "matched", 1)]
    assert [picture.caption.split(",")[0] for picture in shown.maps] == ["NP", "HV", "HV", "NT"]
    assert all("f3-00001" in picture.alt for picture in (shown.image, *shown.maps))
    assert len({picture.uri for picture in (shown.image, *shown.maps)}) == 5


def test_the_pictures_of_a_partly_annotated_tile_are_hatched_and_show_the_nuclei_that_count(disc_tiles, scored) -> None:
    batch = disc_tiles([[(60, 50, 14, 1), (60, 190, 14, 1), (150, 132, 12, 1)]])  # left, right, and mostly right
    half = without_annotation({0: RIGHT})(batch)
    scores, watershed = {"decoder": scored(["Colon"], aji=[0.5], n_true=[2])}, HoverNetWatershed()
    chosen = [("f3-00000", "best")]
    maps = perfect_maps(batch)

    (tile,) = gallery_tiles(chosen, scores, [dataclasses.replace(maps, tiles=half)], watershed)
    (whole,) = gallery_tiles(chosen, scores, [maps], watershed)

    assert (tile.not_annotated, whole.not_annotated) == (0.5, 0)
    assert (tile.n_true, tile.n_predicted) == (2, 1)  # the nucleus at the edge is cut in one, and left out of the other
    assert (whole.n_true, whole.n_predicted) == (3, 3)
    assert tile.image.uri != whole.image.uri
