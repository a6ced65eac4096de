"""A tile with a region that is not annotated has the scores of the annotated region alone."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from instance_maps import KINDS, tiles

from cellvit.config.evaluation import IntegrityGates
from cellvit.evaluation.annotated import n_nuclei, not_annotated
from cellvit.evaluation.map_sums import map_sums, sums_on_device
from cellvit.evaluation.scoring import (
    COLUMNS,
    pair_columns,
    panoptic_columns,
    score_columns,
    score_segmentation,
)
from cellvit.evaluation.selection import ImageOfTile, MapsOfTile, values_of_image, values_of_maps
from cellvit.evaluation.system_scores import perfect_maps, scores_of_classical, scores_of_maps
from cellvit.evaluation.target_checks import coverage, target_results
from cellvit.evaluation.values import gaps, map_sums_of, metric_values, trivial_values
from cellvit.formats.dataset import NOT_ANNOTATED, PANNUKE
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import TileBatch
from cellvit.hover.classical import segment_classical
from cellvit.hover.encode import hv_maps
from cellvit.hover.parameters import Classical, HoverNetWatershed, HvFlow
from cellvit.hover.relabel import relabel
from cellvit.inference.parallel import Workers
from cellvit.inference.pixel_maps import PixelMaps
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.inference.tensors import TensorBatch
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.maps import MapSums

SCORES = score_columns(PANNUKE.class_keys)

HALF = 128
ALONE = Workers(None, 1)
LEFT = [(60, 50, 14, 1), (150, 40, 10, 3), (200, 90, 12, 5)]
RIGHT = [(60, 190, 14, 1), (150, 170, 10, 3)]
CROSSING = [(100, HALF - 3, 12, 4), (230, HALF + 6, 12, 4)]


def half_annotated(batch: TileBatch, *, columns: slice = slice(HALF, None)) -> TileBatch:
    """The tiles without the annotation of these columns."""
    instances, classes = batch.instances.copy(), batch.classes.copy()
    instances[..., columns], classes[..., columns] = 0, NOT_ANNOTATED
    instances = np.stack([relabel(tile) for tile in instances])
    return dataclasses.replace(batch, instances=instances, classes=classes)


def scores_by_name(row: np.ndarray) -> dict[str, float]:
    return dict(zip(COLUMNS, row.tolist(), strict=False))


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
def test_every_score_of_a_partly_annotated_tile_is_that_of_its_annotated_part(kind: str, data: st.DataObject) -> None:
    truth, true_classes, predicted, predicted_classes = data.draw(tiles(kind))
    truth, predicted = relabel(truth), relabel(predicted)
    edge = data.draw(st.integers(0, truth.shape[1]))
    annotated = np.broadcast_to(np.arange(truth.shape[1]) < edge, truth.shape)
    probability = np.linspace(0.3, 1, int(predicted.max(initial=0))).astype(np.float32)
    prediction = Segmentation(predicted, predicted_classes.astype(np.uint8), probability)
    left, right = np.where(annotated, truth, 0), np.where(annotated, true_classes, NOT_ANNOTATED).astype(np.uint8)

    found = score_segmentation(Segmentation(left, right), prediction, PANNUKE)

    counted = prediction.within(annotated)
    alone = (
        Segmentation(np.ascontiguousarray(side.instances[:, :edge]), np.ascontiguousarray(side.classes[:, :edge]), p)
        for side, p in ((Segmentation(left, right), None), (counted, counted.probability))
    )
    if not edge:
        scores = scores_by_name(found)
        assert scores["annotated"] == 0
        assert all(math.isnan(scores[name]) for name in ("n_true", "n_predicted", "dice", "aji", "pq", "bpq", "mpq"))
        assert not found[COLUMNS.index("tp_neoplastic") :].any()
        return
    expected = score_segmentation(*alone, PANNUKE)
    share = COLUMNS.index("annotated")
    assert found[share] == pytest.approx(edge / truth.shape[1])
    np.testing.assert_array_equal(np.delete(found, share), np.delete(expected, share))


@given(data=st.data())
def test_nuclei_that_are_predicted_where_nothing_is_annotated_change_no_score(data: st.DataObject) -> None:
    truth, classes, predicted, predicted_classes = data.draw(tiles("scattered"))
    edge = truth.shape[1] // 2
    truth, predicted, classes = relabel(truth), relabel(predicted), classes.copy()
    truth[:, edge:], classes[:, edge:] = 0, NOT_ANNOTATED
    predicted[:, edge:][predicted[:, edge:] > 0] = 0
    predicted = relabel(predicted)
    more, n = predicted.copy(), int(predicted.max(initial=0))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    more[:, edge:] = (rng.integers(0, 4, truth[:, edge:].shape) > 2) * (n + 1)
    other_classes = predicted_classes.copy()
    other_classes[:, edge:] = rng.integers(0, 6, truth[:, edge:].shape)

    scores = (
        score_segmentation(Segmentation(truth, classes), Segmentation(nuclei, of.astype(np.uint8)), PANNUKE)
        for nuclei, of in ((predicted, predicted_classes), (relabel(more), other_classes))
    )

    np.testing.assert_array_equal(*scores)


def random_maps(batch: TileBatch) -> MapBatch:
    rng, n = np.random.default_rng(0), len(batch)
    types = rng.random((n, 6, 256, 256)).astype(np.float32)
    return MapBatch(
        batch,
        np_prob=rng.random((n, 256, 256)).astype(np.float32),
        hv=rng.uniform(-1, 1, (n, 2, 256, 256)).astype(np.float32),
        nt_prob=types / types.sum(axis=1, keepdims=True),
    )


def on_the_device(maps: MapBatch) -> np.ndarray:
    unread = torch.zeros(len(maps), 1), torch.zeros(len(maps), 3)
    truth = TensorBatch(*unread, torch.from_numpy(maps.tiles.instances), torch.from_numpy(maps.tiles.classes))
    predicted = PixelMaps(*map(torch.from_numpy, (maps.np_prob, maps.hv, maps.nt_prob)))
    return sums_on_device(predicted, truth, truth.hv_maps()).numpy()


@pytest.mark.parametrize("value", [0.0, 1.0, 1e30, np.nan], ids=str)
def test_sums_of_maps_are_over_annotated_pixels_whatever_is_predicted_elsewhere(disc_tiles, value: float) -> None:
    maps = random_maps(half_annotated(disc_tiles([LEFT + RIGHT, LEFT + CROSSING, []])))
    changed = {name: getattr(maps, name).copy() for name in ("np_prob", "hv", "nt_prob")}
    for array in changed.values():
        array[..., HALF:] = value
    other = dataclasses.replace(maps, **changed)
    tile = maps.tiles

    found = map_sums(maps).rows

    halves = (maps.np_prob, maps.hv, maps.nt_prob.argmax(axis=1), tile.instances, tile.classes)
    hv_true = hv_maps(np.ascontiguousarray(tile.instances[..., :HALF]))
    alone = MapSums.of(*(array[..., :HALF] for array in halves), hv_true).rows
    np.testing.assert_array_equal(found, alone)
    np.testing.assert_array_equal(map_sums(other).rows, found)
    np.testing.assert_allclose(on_the_device(maps), found, rtol=1e-12)
    np.testing.assert_array_equal(on_the_device(other), on_the_device(maps))
    assert found[:, MAP_COLUMNS.index("pixels")].tolist() == [256 * HALF] * 3


@pytest.fixture
def scores(disc_tiles) -> TileScores:
    """Scores of noisy maps of three tiles, the last of which is not annotated at all."""
    batch = disc_tiles([LEFT + RIGHT, LEFT, RIGHT + CROSSING], ["Colon", "Stomach", "Colon"])
    perfect, none = perfect_maps(batch), half_annotated(batch, columns=slice(None))
    last = np.array([False, False, True])[:, None, None]
    instances, classes = (
        np.where(last, getattr(none, name), getattr(batch, name)) for name in ("instances", "classes")
    )
    noise = np.random.default_rng(0).normal(0, 0.3, perfect.hv.shape).astype(np.float32)
    mixed = dataclasses.replace(batch, instances=instances, classes=classes)
    maps = dataclasses.replace(perfect, tiles=mixed, hv=perfect.hv + noise)
    return scores_of_maps([maps], HoverNetWatershed(), PANNUKE, family="digestive", pool=ALONE)


def test_a_tile_that_is_not_annotated_at_all_is_not_scored_and_counted(scores) -> None:
    last = scores.rows(np.array([2]))

    assert np.isnan(last.block(SCORES[:2] + SCORES[3:])).all()
    assert not last.block(panoptic_columns(PANNUKE.class_keys) + pair_columns(PANNUKE.n_classes) + MAP_COLUMNS).any()
    assert n_nuclei(scores) == len(LEFT + RIGHT + LEFT)
    found = not_annotated(scores)
    assert (found.n_partly, found.n_wholly, found.share) == (0, 1, pytest.approx(1 / 3))
    assert coverage(scores) == coverage(scores.rows(np.arange(2)))


def test_a_tile_that_is_not_annotated_at_all_changes_no_value_no_interval_and_no_n(scores) -> None:
    others = scores.rows(np.arange(2))
    sums, sums_of_others = map_sums_of(scores), map_sums_of(others)

    for found, expected in (
        (metric_values(scores), metric_values(others)),
        (trivial_values(sums, groups=None), trivial_values(sums_of_others, groups=None)),
        (gaps(sums, sums, groups=None), gaps(sums_of_others, sums_of_others, groups=None)),
    ):
        for name, value in expected.items():
            assert found[name].model_dump() == pytest.approx(value.model_dump(), nan_ok=True), name
    assert math.isnan(metric_values(scores.rows(np.array([2])))["count_concordance"].value)
    assert metric_values(scores.rows(np.array([2])))["np_dice"].n == 0


def test_targets_of_tiles_that_are_not_annotated_have_nothing_to_check(scores) -> None:
    assert target_results(scores.rows(np.array([2])), {}, {}, IntegrityGates()) == []


@pytest.mark.parametrize("watershed", [HvFlow(), HoverNetWatershed()], ids=["hv_flow", "hovernet"])
def test_the_upper_bound_of_a_partly_annotated_tile_is_high(disc_tiles, watershed) -> None:
    batch = half_annotated(disc_tiles([LEFT + RIGHT + CROSSING]))

    found = metric_values(scores_of_maps([perfect_maps(batch)], watershed, PANNUKE, family="", pool=ALONE))

    assert found["bpq"].n == 1
    assert min(found[name].value for name in ("aji", "bpq", "np_dice", "nt_accuracy")) > 0.8


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
def test_tuning_scores_the_annotated_part_alone(disc_tiles, select_by) -> None:
    batch = disc_tiles([LEFT + RIGHT])
    perfect, points = perfect_maps(batch), (HvFlow(), HoverNetWatershed())
    maps = perfect.np_prob[0], perfect.hv[0], perfect.most_probable_class[0]
    part, none = half_annotated(batch), half_annotated(batch, columns=slice(None))
    truths = [Segmentation(tiles.instances[0], tiles.classes[0]) for tiles in (part, none)]
    empty = np.zeros((256, 256), np.uint8)
    unannotated_is_background = Segmentation(part.instances[0], np.where(truths[0].annotated, truths[0].classes, empty))

    counted, undefined = (
        values_of_maps(select_by, MapsOfTile(truth, *maps, points, PANNUKE.n_classes)) for truth in truths
    )
    wrong = values_of_maps(select_by, MapsOfTile(unannotated_is_background, *maps, points, PANNUKE.n_classes))

    assert (counted > 0.9).all()
    assert np.isnan(undefined).all()
    assert (wrong < 0.8).all()  # nuclei to the right would be false ones


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
@pytest.mark.parametrize("ink", [0, 90, 255])
def test_the_classical_baseline_does_not_see_what_is_not_annotated(disc_tiles, select_by, ink) -> None:
    batch = half_annotated(disc_tiles([[(60, 50, 14, 1), (150, 40, 10, 1)]]))
    truth = Segmentation(batch.instances[0], batch.classes[0])
    inked = batch.image.copy()
    inked[0, :, HALF:] = np.random.default_rng(ink).integers(max(ink - 5, 0), ink + 1, (256, HALF, 3))
    points = (Classical(), Classical(otsu_factor=0.8))

    plain, stained = (
        values_of_image(select_by, ImageOfTile(truth, image[0], 1, points, PANNUKE.n_classes))
        for image in (batch.image, inked)
    )
    scores = [
        scores_of_classical([dataclasses.replace(batch, image=image)], Classical(), 1, PANNUKE, family="", pool=ALONE)
        for image in (batch.image, inked)
    ]

    assert plain.tolist() == stained.tolist()
    assert plain[0] > 0.7
    assert scores[0].table.equals(scores[1].table)


def test_the_classical_baseline_finds_nothing_where_nothing_is_annotated(disc_tiles) -> None:
    image = disc_tiles([LEFT]).image[0]

    assert not segment_classical(image, annotated=np.zeros((256, 256), bool)).any()
    assert np.array_equal(segment_classical(image, annotated=np.ones((256, 256), bool)), segment_classical(image))


def test_probabilities_of_nuclei_that_are_left_out_go_with_them() -> None:
    nuclei = Segmentation(
        np.array([[1, 2, 2, 3]], np.int32), np.array([[4, 5, 5, 1]], np.uint8), np.array([0.1, 0.2, 0.3], np.float32)
    )

    left = nuclei.within(np.array([[False, False, True, True]]))

    assert left.instances.tolist() == [[0, 0, 1, 2]]
    assert left.classes.tolist() == [[0, 0, 5, 1]]
    assert left.probability.tolist() == pytest.approx([0.2, 0.3])
