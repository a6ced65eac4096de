"""One choice of views, from the maps of tuning to every evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellvit.config.evaluation import WatershedSettings
from cellvit.config.views import GEOMETRIES
from cellvit.errors import StaleFileError
from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.documents import read_document
from cellvit.formats.family import open_family
from cellvit.formats.gallery import Gallery
from cellvit.formats.hdf5 import Store
from cellvit.formats.maps import MAPS
from cellvit.formats.tile_table import TileScores, read_tile_scores
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.maps import MapSums

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
EXTRACTED = {
    "encoder": {"preset": "tiny-vit", "weights": "random"},
    "features": {"input_px": 224, "views": list(GEOMETRIES)},
}


def one_point(average_views: bool) -> WatershedSettings:
    lists = {"np_threshold": (0.5,), "hv_threshold": (0.4,), "min_object_px": (10,)}
    return WatershedSettings(method=("hovernet",), **lists, average_views=average_views)


@pytest.fixture(scope="module")
def written(write_run):
    organs = {1: ["Colon", "Skin"], 2: ["Colon", "Skin"], 3: ["Colon", "Stomach", "Skin"]}
    run = write_run(organs, FAMILIES | {"all": ("Colon", "Skin", "Stomach")}, extracted=EXTRACTED)
    for seed, family in enumerate(run.families):
        run.write_decoder(family, seed=seed, encoder=EXTRACTED | {"blocks": [3]})
    return run


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def sums_of(run, fold: int, tiles_of: str, decoder_of: str, *, average_views: bool) -> np.ndarray:
    """Sums of the maps that a decoder predicts for the tiles of a family in a fold."""
    decoder = load_decoder(run.checkpoint(decoder_of), torch.device("cpu"))
    with open_family(run.members(tiles_of, fold), run.tiles(fold), run.features(fold)) as data:
        rows = np.arange(len(data.tiles))
        (batch,) = predict_maps(decoder, data.features, data.tiles, rows, average_views=average_views)
        return map_sums(batch).rows


def scores_of(run, name: str) -> dict[str, TileScores]:
    return read_tile_scores(run.evaluated(f"{name}_tiles.csv"), COLUMNS)


def test_averaged_maps_are_marked_and_the_choice_is_recorded(run) -> None:
    averaged, single = (run.tune("digestive", one_point(choice)) for choice in (True, False))

    assert (averaged.average_views, single.average_views) == (True, False)
    with Store(run.root / "maps/averaged/digestive.h5", MAPS) as maps, Store(run.maps("digestive"), MAPS) as others:
        assert (maps.all("averaged").tolist(), others.all("averaged").tolist()) == ([1], [0])
        assert np.abs(maps.all("hv") - others.all("hv")).max() > 0


@pytest.mark.parametrize("average_views", [True, False])
def test_tuning_refuses_maps_of_the_other_kind(run, monkeypatch, average_views) -> None:
    found = run.maps("digestive") if average_views else run.averaged_maps("digestive")
    monkeypatch.setattr(type(run), "averaged_maps" if average_views else "maps", lambda *_: found)

    with pytest.raises(StaleFileError, match=rf"average_views: {str(average_views).lower()}\), found maps .*Fix: rm"):
        run.tune("digestive", one_point(average_views))


@pytest.mark.parametrize("average_views", [True, False])
def test_a_family_is_evaluated_as_its_document_says_and_so_is_the_shared_decoder(run, average_views) -> None:
    run.tune("digestive", one_point(average_views))
    run.tune("all", one_point(not average_views))

    evaluation = run.evaluate("digestive", shared=True)

    scores = scores_of(run, "digestive")
    for system, family, averages in (("decoder", "digestive", average_views), ("shared", "all", not average_views)):
        expected = sums_of(run, 3, "digestive", family, average_views=averages)
        np.testing.assert_allclose(scores[system].block(MAP_COLUMNS), expected, rtol=1e-6, err_msg=system)
    training = MapSums(sums_of(run, 1, "digestive", "digestive", average_views=average_views))
    assert evaluation.train["hv_mse"].value == pytest.approx(training.value("hv_mse"), rel=1e-6)


def test_the_gallery_shows_what_was_scored(run) -> None:
    pictures = []
    for average_views in (True, False):
        run.tune("digestive", one_point(average_views))
        run.evaluate("digestive")
        gallery = read_document(run.evaluated("digestive_gallery.json"), Gallery)
        pictures.append([tile.model_dump() for tile in gallery.tiles])

    assert len(pictures[0]) == len(pictures[1]) > 0
    assert pictures[0] != pictures[1]


def test_a_routed_tile_is_predicted_as_the_document_of_its_decoder_says(run) -> None:
    for family, average_views in (("digestive", True), ("epidermal", False)):
        run.tune(family, one_point(average_views))
        run.evaluate(family)
    run.write_organ_head("Colon", encoder=EXTRACTED | {"blocks": [3]})

    replace(run, families=FAMILIES).route()

    predicted = scores_of(run, "routed")["organ_predicted"]
    assert set(predicted.text("family")) == {"digestive"}
    skin = predicted.where(predicted.organs == "Skin").block(MAP_COLUMNS)
    np.testing.assert_allclose(skin, sums_of(run, 3, "epidermal", "digestive", average_views=True), rtol=1e-6)


def test_without_decoder_or_validation_tiles_the_averaged_maps_are_empty(run) -> None:
    run.write_decoder("digestive", status="absent", encoder=EXTRACTED | {"blocks": [3]})

    choice = run.tune("digestive", one_point(True))

    assert (choice.status, choice.reason) == ("absent", "no tiles in training folds [1]")
    with Store(run.root / "maps/averaged/digestive.h5", MAPS) as maps:
        assert len(maps) == 0
