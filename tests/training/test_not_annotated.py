"""Trainings on tiles of which a part is not annotated."""

import math

import numpy as np
import pytest
import torch
from annotations import RIGHT, WHOLE, inked, without_annotation

from cellvit.config.steps import TrainHovernetSettings
from cellvit.formats.tiles import TileBatch
from cellvit.training.class_weights import pixel_counts
from cellvit.training.hovernet import RowsByRole, fit_decoder

CPU = torch.device("cpu")


def changed(settings: TrainHovernetSettings, *, stem: str = "rgb", **training) -> TrainHovernetSettings:
    raw = settings.model_dump()
    decoder = {**raw["decoder"], "image_stem": stem}
    return TrainHovernetSettings.model_validate(
        {**raw, "decoder": decoder, "training": {**raw["training"], **training}}
    )


def equal(weights, others) -> bool:
    return all(np.array_equal(values, others[name]) for name, values in weights.items())


def test_a_decoder_learns_from_half_annotated_tiles_and_one_that_is_not_annotated(
    open_family_data, rows, small_settings
):
    data = open_family_data(change=without_annotation({0: RIGHT, 1: RIGHT, 2: WHOLE, 4: RIGHT}))

    model = fit_decoder(data, rows, changed(small_settings, steps=24, learning_rate=2e-2), device=CPU)

    first, last = model.history[0], model.history[-1]
    assert last.train["total"] < 0.7 * first.train["total"]
    assert last.validate["np_dice"] > 0.6
    assert all(np.isfinite(values).all() for values in model.weights.values())


@pytest.mark.parametrize("weighting", ["fixed", "adaptive"])
def test_training_tiles_that_are_not_annotated_teach_nothing(open_family_data, rows, small_settings, weighting):
    data = open_family_data(change=without_annotation(dict.fromkeys(range(4), WHOLE)))

    model = fit_decoder(data, rows, changed(small_settings, loss={"weighting": weighting}), device=CPU)

    assert {
        name: value for name, value in model.record.train.items() if not name.startswith("weight_")
    } == dict.fromkeys(("np", "hv", "hv_l1", "hv_gradient", "hv_magnitude", "nt", "total", "clipped"), 0)
    assert math.isfinite(model.record.validate["total"])


def test_ink_on_what_is_not_annotated_trains_the_same_decoder(open_family_data, rows, small_settings, tmp_path_factory):
    half = without_annotation(dict.fromkeys(range(8), RIGHT))

    def ink(batch: TileBatch) -> TileBatch:
        return inked(half(batch))

    settings = changed(small_settings, stem="none")  # an image stem sees the ink, as it sees all around a nucleus
    plain = fit_decoder(open_family_data(change=half), rows, settings, device=CPU)
    stained = fit_decoder(open_family_data(change=ink), rows, settings, device=CPU)

    assert equal(plain.weights, stained.weights)
    assert [record.validate for record in plain.history[1:]] == [record.validate for record in stained.history[1:]]


def test_validation_is_over_annotated_pixels_whatever_tiles_are_in_a_batch(open_family_data, rows, small_settings):
    data = open_family_data(change=without_annotation({5: WHOLE, 6: WHOLE}))
    settings = changed(small_settings, steps=1)

    with_none, without = (
        fit_decoder(data, RowsByRole(rows.train, np.array(validate)), settings, device=CPU).record.validate
        for validate in ([4, 7, 5, 6], [4, 7])
    )
    undefined = fit_decoder(data, RowsByRole(rows.train, np.array([5, 6])), settings, device=CPU).record.validate

    assert with_none == pytest.approx(without, nan_ok=True)
    assert all(map(math.isnan, undefined.values()))


def test_class_weights_count_annotated_pixels(open_family_data):
    data = open_family_data(change=without_annotation({0: RIGHT, 7: WHOLE}))
    classes = data.tiles.read("classes", np.array([0, 7]))

    counts = pixel_counts(data.tiles, np.array([0, 7]))

    assert counts.sum() == 256 * 128
    assert counts.tolist() == [int((classes == number).sum()) for number in range(6)]
