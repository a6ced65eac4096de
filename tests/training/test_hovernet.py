import logging
import math

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.errors import TrainingDivergedError
from cellvit.formats.family import FamilyData
from cellvit.formats.history import LOSS_PARTS, VALIDATION_METRICS
from cellvit.training.hovernet import fit_decoder

CPU = torch.device("cpu")
NONE = np.zeros(0, np.int64)


def changed(settings: TrainHovernetSettings, **training) -> TrainHovernetSettings:
    raw = settings.model_dump()
    return TrainHovernetSettings.model_validate({**raw, "training": {**raw["training"], **training}})


def equal(weights, others) -> bool:
    return all(np.array_equal(values, others[name]) for name, values in weights.items())


def test_a_decoder_learns_to_find_dark_discs(family_data, rows, small_settings):
    settings = changed(small_settings, steps=24, learning_rate=2e-2)

    model = fit_decoder(family_data, rows, settings, device=CPU)

    first, last = model.history[0], model.history[-1]
    assert last.train["total"] < 0.7 * first.train["total"]
    assert last.validate["np_dice"] > 0.7  # all foreground would give 0.17
    assert last.validate["bpq"] >= 0


def test_weights_repeat_bit_for_bit_with_the_seed_and_differ_with_another(family_data, rows, small_settings):
    settings = (small_settings, small_settings, small_settings.model_copy(update={"seed": 1}))

    first, again, other = (fit_decoder(family_data, rows, one, device=CPU) for one in settings)

    assert equal(first.weights, again.weights)
    assert [record.train for record in first.history] == [record.train for record in again.history]
    assert not np.array_equal(first.weights["hv.weight"], other.weights["hv.weight"])


def test_a_training_in_16_bits_repeats_bit_for_bit_and_keeps_weights_in_32(family_data, rows, small_settings):
    settings = changed(small_settings, precision="bfloat16")

    single, half, again = (
        fit_decoder(family_data, rows, one, device=CPU) for one in (small_settings, settings, settings)
    )

    assert equal(half.weights, again.weights)
    assert not equal(half.weights, single.weights)
    assert {values.dtype for values in half.weights.values() if values.dtype.kind == "f"} == {np.dtype(np.float32)}
    assert half.history[0].train["total"] == pytest.approx(single.history[0].train["total"], rel=0.05)


def test_training_leaves_the_random_numbers_of_torch_as_they_were(family_data, rows, small_settings):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)

    fit_decoder(family_data, rows, changed(small_settings, steps=1), device=CPU)

    assert torch.equal(torch.rand(3), expected)


def test_every_part_of_the_loss_is_recorded_and_logged_in_one_line_per_round(family_data, rows, small_settings, caplog):
    settings = changed(small_settings, loss={"weighting": "adaptive"})
    with caplog.at_level(logging.INFO):
        model = fit_decoder(family_data, rows, settings, device=CPU)

    for record in model.history:
        assert set(record.train) == {*LOSS_PARTS, "clipped"}
        assert set(record.validate) == {*LOSS_PARTS, *VALIDATION_METRICS}
        assert all(math.isfinite(value) for value in record.train.values())
    first, last = model.history
    assert first.train["weight_np"] != last.train["weight_np"]  # adaptive weights are learned
    assert all(map(math.isnan, first.validate.values()))
    assert {name for name, value in last.validate.items() if math.isnan(value)} == {"mpq", "aji"}  # bPQ selects
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("step=")]
    assert [line.split(" rate=")[0] for line in lines] == ["step=2/4 epochs=1", "step=4/4 epochs=2"]
    assert all(f" train_{name}=" in lines[0] and f" validate_{name}=" in lines[1] for name in LOSS_PARTS)
    assert " tiles_per_s=" in lines[0]
    assert ("validate_bpq=" in lines[0], "validate_bpq=" in lines[1]) == (False, True)


@pytest.mark.parametrize(
    ("validate", "expected"), [pytest.param(NONE, math.nan, id="none"), pytest.param([7], 0.0, id="without_nuclei")]
)
def test_the_last_step_is_selected_where_validation_tiles_do_not_define_bpq(
    family_data, rows, small_settings, validate, expected
):
    model = fit_decoder(family_data, rows._replace(validate=np.array(validate)), small_settings, device=CPU)

    assert model.record.step == 4
    assert model.selection.startswith("last step")
    assert model.record.validate["hv_l1"] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(model.record.validate["bpq"])


@pytest.mark.parametrize("row", [pytest.param(0, id="with_nuclei"), pytest.param(7, id="empty")])
def test_a_single_training_tile_is_enough(family_data, rows, small_settings, row):
    model = fit_decoder(family_data, rows._replace(train=np.array([row])), small_settings, device=CPU)

    assert all(np.isfinite(values).all() for values in model.weights.values())


def test_a_divergence_stops_the_training_with_a_fix(family_data, rows, small_settings):
    settings = changed(small_settings, steps=12, learning_rate=1e30, warmup=0.0, max_norm=1e30)

    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        fit_decoder(family_data, rows, settings, device=CPU)


def with_views(open_family_data, *, damaged=(), **features) -> FamilyData:
    """Noise in place of the features of an encoder, for these views."""
    settings = ExtractFeaturesSettings(
        encoder=EncoderSettings(preset="tiny-vit", weights="random"), features=FeaturesSettings(**features)
    )
    return open_family_data(settings.features.n_views, settings.model_dump(mode="json"), damaged)


@pytest.mark.parametrize(
    ("rows_that_need_identity", "options"),
    [pytest.param((4, 7), {}, id="validation"), pytest.param(range(8), {"augment": False}, id="without_augmentation")],
)
def test_only_the_identity_view_is_read(open_family_data, rows, small_settings, rows_that_need_identity, options):
    unread = [(row, view) for row in rows_that_need_identity for view in range(1, 9)]
    data = with_views(open_family_data, damaged=unread, views=("dihedral8",), colour_views=1)

    model = fit_decoder(data, rows, changed(small_settings, **options), device=CPU)

    assert math.isfinite(model.record.validate["total"])
    assert all(np.isfinite(values).all() for values in model.weights.values())


@pytest.mark.parametrize("view", [0, 3, 8])
def test_training_reads_every_stored_view(open_family_data, rows, small_settings, view):
    damaged = [(row, view) for row in range(4)]
    data = with_views(open_family_data, damaged=damaged, views=("dihedral8",), colour_views=1)

    with pytest.raises(TrainingDivergedError):
        fit_decoder(data, rows, changed(small_settings, steps=40), device=CPU)


def test_rotated_tokens_stored_views_and_no_augmentation_train_different_decoders(
    open_family_data, rows, small_settings
):
    data = with_views(open_family_data, views=("dihedral8",))
    ways = ({"views": "auto"}, {"views": "stored"}, {"views": "rotated"}, {"augment": False})

    auto, stored, rotated, none = (
        fit_decoder(data, rows, changed(small_settings, **way), device=CPU).weights["hv.weight"] for way in ways
    )

    assert np.array_equal(auto, stored)
    assert not np.array_equal(stored, rotated)
    assert not np.array_equal(stored, none)
