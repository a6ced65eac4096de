import dataclasses
from functools import partial

import numpy as np
import pytest

from cellvit.errors import SettingsError
from cellvit.evaluation.map_sums import sums_of_all
from cellvit.evaluation.measuring import grid_tasks, judge_classical, judge_maps, judge_oracle, perfect_maps
from cellvit.evaluation.scoring import COLUMNS, score_grid
from cellvit.formats.provenance import Provenance
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.parameters import HoverNetWatershed, HvFlow
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.segment import one_class, parameters_of, segment_tile, watershed_of
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS

INLINE = Workers(None, 1)
TOUCHING = [(60, 60, 12, 1), (60, 83, 12, 1), (150, 150, 10, 3)]


def test_the_oracle_finds_touching_nuclei_with_their_classes(disc_tiles) -> None:
    judged = judge_oracle([disc_tiles([TOUCHING])], HoverNetWatershed(), family="digestive", pool=INLINE)

    assert judged.column("n_found").tolist() == [3]
    assert judged.column("aji")[0] > 0.95
    assert judged.column("pq_neoplastic")[0] > 0.95
    assert judged.column("pq_connective")[0] > 0.95
    assert np.isnan(judged.column("pq_dead")[0])


def test_a_tile_without_nuclei_is_undefined_not_zero_or_one(disc_tiles) -> None:
    judged = judge_oracle([disc_tiles([[]])], HoverNetWatershed(), family="digestive", pool=INLINE)

    for name in ("dice", "aji", "aji_plus", "dq", "sq", "pq", "bpq", "mpq", "mpq_strict", "pq_dead"):
        assert np.isnan(judged.column(name)).all(), name
    assert judged.column("n_true").tolist() == judged.column("n_found").tolist() == [0]


def test_the_classical_baseline_sees_nuclei_and_gives_them_one_class(disc_tiles) -> None:
    judged = judge_classical([disc_tiles([TOUCHING])], 1, family="digestive", pool=INLINE)

    assert judged.column("dice")[0] > 0.8
    assert judged.column("pq_neoplastic")[0] > 0.5
    assert judged.column("pq_connective")[0] == 0
    assert np.isnan(judged.block(MAP_COLUMNS)).all()


def test_no_tiles_give_an_empty_record_with_all_columns() -> None:
    judged = judge_maps([], HoverNetWatershed(), family="digestive", pool=INLINE)

    assert len(judged) == 0
    assert judged.columns == COLUMNS


def test_measurements_do_not_depend_on_how_tiles_are_batched(disc_tiles) -> None:
    tiles = disc_tiles([TOUCHING, [], TOUCHING[:1]], patients=["p1", "", "p1"])
    whole = perfect_maps(tiles)
    singles = [_only(whole, row) for row in range(3)]

    together = judge_maps([whole], HoverNetWatershed(), family="f", pool=INLINE)
    apart = judge_maps(singles, HoverNetWatershed(), family="f", pool=INLINE)

    np.testing.assert_array_equal(together.values, apart.values)
    assert together.tile_id == apart.tile_id
    assert together.patient == apart.patient == ("p1", "", "p1")


def _only(batch: MapBatch, row: int) -> MapBatch:
    tiles = batch.tiles
    part = dataclasses.replace(
        tiles,
        image=tiles.image[[row]],
        instances=tiles.instances[[row]],
        classes=tiles.classes[[row]],
        organ=tiles.organ[row : row + 1],
        tile_id=tiles.tile_id[row : row + 1],
        patient=tiles.patient[row : row + 1],
    )
    return MapBatch(part, batch.np_prob[[row]], batch.hv[[row]], batch.nt_prob[[row]])


def test_sums_of_perfect_maps_are_perfect(disc_tiles) -> None:
    sums = sums_of_all([perfect_maps(disc_tiles([TOUCHING, []]))])

    assert [sums.value(name) for name in ("np_dice", "hv_mse", "nt_accuracy")] == [1, 0, 1]
    assert sums.value("hv_length") == pytest.approx(0.67, abs=0.03)
    assert len(sums_of_all([]).rows) == 0


def test_each_point_of_the_grid_gets_its_aji(disc_tiles) -> None:
    batch = perfect_maps(disc_tiles([TOUCHING, []]))
    grid = (HoverNetWatershed(), HoverNetWatershed(min_object_px=100_000))

    aji = np.array(list(map(partial(score_grid, grid), grid_tasks([batch]))))

    assert aji[0, 0] > 0.95
    assert aji[0, 1] == 0
    assert np.isnan(aji[1]).all()


def test_a_segmented_tile_has_one_class_a_nucleus(disc_tiles) -> None:
    batch = perfect_maps(disc_tiles([TOUCHING]))

    found = segment_tile(batch.np_prob[0], batch.hv[0], batch.nt_prob[0], HoverNetWatershed())

    classes = [set(found.classes[found.instances == label].tolist()) for label in range(4)]
    assert classes == [{0}, {1}, {1}, {3}]
    assert set(np.unique(one_class(found.instances, 5).classes)) == {0, 5}


def test_parameters_survive_their_document() -> None:
    published = HoverNetWatershed(np_threshold=0.6, min_object_px=30)
    flow = HvFlow(min_gain_px=2.5, min_object_px=30)

    assert watershed_of(_choice(parameters_of(published))) == published
    assert watershed_of(_choice(parameters_of(flow), "hv_flow")) == flow
    assert isinstance(watershed_of(_choice({"sobel_px": 11.0})).sobel_px, int)


def test_a_parameter_out_of_its_limits_is_refused() -> None:
    with pytest.raises(SettingsError, match="np_threshold"):
        watershed_of(_choice({"np_threshold": 1.5}))


def _choice(parameters: dict[str, float], method: str = "hovernet") -> WatershedChoice:
    return WatershedChoice(
        provenance=Provenance(), split="1", family="f", status="tuned", method=method, parameters=parameters
    )
