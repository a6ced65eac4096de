import dataclasses

import numpy as np
import pytest

from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import CALIBRATION_COLUMNS, COLUMNS
from cellvit.evaluation.system_scores import perfect_maps, scores_of_classical, scores_of_maps
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.provenance import Provenance
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import method_of, watershed_of_method
from cellvit.hover.parameters import Classical, HoverNetWatershed, HvFlow
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.segment import one_class, segment_tile
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS

INLINE = Workers(None, 1)
TOUCHING = [(60, 60, 12, 1), (60, 83, 12, 1), (150, 150, 10, 3)]
PUBLISHED = HoverNetWatershed()


def test_the_upper_bound_separates_touching_nuclei_and_keeps_their_classes(disc_tiles) -> None:
    scores = scores_of_maps([perfect_maps(disc_tiles([TOUCHING]))], PUBLISHED, PANNUKE, family="digestive", pool=INLINE)

    assert scores.column("n_predicted").tolist() == [3]
    assert min(scores.column(name)[0] for name in ("aji", "pq_neoplastic", "pq_connective")) > 0.95
    assert np.isnan(scores.column("pq_dead")[0])


def test_perfect_maps_have_no_distance_of_outlines_and_every_pair_is_near_and_calibrated(disc_tiles) -> None:
    scores = scores_of_maps([perfect_maps(disc_tiles([TOUCHING]))], PUBLISHED, PANNUKE, family="digestive", pool=INLINE)

    assert scores.column("bpq_1px")[0] > 0.95
    assert scores.column("outlined")[0] == scores.column("calibrated")[0] == 3
    assert scores.column("boundary_um")[0] < 3 * 0.25  # the sum of three mean distances: less than a pixel each
    assert scores.column("near_pairs_1_1")[0] == 2
    assert scores.column("near_pairs_3_3")[0] == 1
    assert np.abs(scores.block(CALIBRATION_COLUMNS[1:])).sum() < 0.3  # probabilities of 1, except at merged pixels


def test_a_tile_without_nuclei_is_undefined_not_zero_or_one(disc_tiles) -> None:
    scores = scores_of_maps([perfect_maps(disc_tiles([[]]))], PUBLISHED, PANNUKE, family="digestive", pool=INLINE)

    for name in ("dice", "aji", "aji_plus", "dq", "sq", "pq", "bpq", "mpq", "mpq_strict", "bpq_1px", "pq_dead"):
        assert np.isnan(scores.column(name)).all(), name
    assert scores.column("n_true").tolist() == scores.column("n_predicted").tolist() == [0]


def test_the_classical_baseline_gives_all_nuclei_one_class_and_has_no_maps(disc_tiles) -> None:
    scores = scores_of_classical([disc_tiles([TOUCHING])], Classical(), 1, PANNUKE, family="digestive", pool=INLINE)

    assert scores.column("dice")[0] > 0.8
    assert scores.column("pq_neoplastic")[0] > 0.5
    assert scores.column("pq_connective")[0] == 0
    assert np.isnan(scores.block(MAP_COLUMNS)).all()
    assert np.isnan(scores.block(CALIBRATION_COLUMNS)).all()


def test_no_tiles_give_no_rows_but_all_columns() -> None:
    scores = scores_of_maps([], PUBLISHED, PANNUKE, family="digestive", pool=INLINE)

    assert (len(scores), scores.columns) == (0, COLUMNS)


def test_scores_do_not_depend_on_the_batches(disc_tiles) -> None:
    whole = perfect_maps(disc_tiles([TOUCHING, [], TOUCHING[:1]], patients=["p1", "", "p1"]))

    together = scores_of_maps([whole], PUBLISHED, PANNUKE, family="f", pool=INLINE)
    apart = scores_of_maps([_only(whole, row) for row in range(3)], PUBLISHED, PANNUKE, family="f", pool=INLINE)

    assert together.table.equals(apart.table)
    assert together.text("patient") == ("p1", "", "p1")


def _only(batch: MapBatch, row: int) -> MapBatch:
    tiles = batch.tiles
    arrays = {name: getattr(tiles, name)[[row]] for name in ("image", "instances", "classes")}
    texts = {name: getattr(tiles, name)[row : row + 1] for name in ("organ", "tile_id", "patient", "source", "origin")}
    part = dataclasses.replace(tiles, **arrays, **texts)
    return MapBatch(part, batch.np_prob[[row]], batch.hv[[row]], batch.nt_prob[[row]])


def test_sums_of_perfect_maps_are_perfect(disc_tiles) -> None:
    sums = map_sums(perfect_maps(disc_tiles([TOUCHING, []])))

    assert [sums.value(name) for name in ("np_dice", "hv_mse", "nt_accuracy")] == [1, 0, 1]
    assert sums.value("hv_length") == pytest.approx(0.67, abs=0.03)


def test_a_segmented_tile_has_one_class_per_nucleus(disc_tiles) -> None:
    batch = perfect_maps(disc_tiles([TOUCHING]))

    prediction = segment_tile(batch.np_prob[0], batch.hv[0], batch.nt_prob[0], PUBLISHED)

    classes = [set(prediction.classes[prediction.instances == label].tolist()) for label in range(4)]
    assert classes == [{0}, {1}, {1}, {3}]
    assert set(np.unique(one_class(prediction.instances, 5).classes)) == {0, 5}


def test_a_document_gives_back_its_parameters() -> None:
    for watershed in (HoverNetWatershed(np_threshold=0.6, min_object_px=30), HvFlow(min_gain_px=2.5, min_object_px=30)):
        choice = WatershedChoice(
            provenance=Provenance(data_set=PANNUKE),
            split="1",
            family="f",
            status="tuned",
            method=method_of(watershed),
            parameters=dataclasses.asdict(watershed),
        )
        found = watershed_of_method(choice.method, choice.parameters)

        assert found == watershed
        assert isinstance(found.min_object_px, int)
