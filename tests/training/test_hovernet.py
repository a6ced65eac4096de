import dataclasses
import logging
import math

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.errors import StaleFileError, TrainingDivergedError
from cellvit.formats.history import LOSS_PARTS, MAP_FIGURES
from cellvit.training.hovernet import FamilyData, fit_decoder

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def changed(settings: TrainHovernetSettings, **training) -> TrainHovernetSettings:
    raw = settings.model_dump()
    return TrainHovernetSettings.model_validate({**raw, "training": {**raw["training"], **training}})


def test_a_decoder_learns_to_find_dark_discs(family_data: FamilyData, small_settings):
    settings = changed(small_settings, epochs=12, bpq_every=12, learning_rate=2e-2)

    kept = fit_decoder(family_data, settings, device=CPU)

    first, last = kept.history[0], kept.history[-1]
    assert last.train["total"] < 0.7 * first.train["total"]
    assert last.validate["np_dice"] > 0.7  # all foreground would give 0.17
    assert last.validate["bpq"] >= 0


def test_the_same_seed_gives_the_same_weights_bit_for_bit(family_data, small_settings):
    first, again = (fit_decoder(family_data, small_settings, device=CPU) for _ in range(2))

    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert [record.train for record in first.history] == [record.train for record in again.history]


def test_another_seed_gives_other_weights(family_data, small_settings):
    first = fit_decoder(family_data, small_settings, device=CPU)

    other = fit_decoder(family_data, small_settings.model_copy(update={"seed": 1}), device=CPU)

    assert not torch.equal(first.weights["hv.weight"], other.weights["hv.weight"])


def test_training_leaves_torchs_own_randomness_as_it_was(family_data, small_settings):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)

    fit_decoder(family_data, changed(small_settings, epochs=1, bpq_every=1), device=CPU)

    assert torch.equal(torch.rand(3), expected)


def test_every_part_of_the_loss_is_recorded_for_both_roles(family_data, small_settings):
    kept = fit_decoder(family_data, small_settings, device=CPU)

    for record in kept.history:
        assert set(record.train) == set(LOSS_PARTS)
        assert set(record.validate) == {*LOSS_PARTS, *MAP_FIGURES}
        assert all(math.isfinite(value) for value in record.train.values())
    assert math.isnan(kept.history[0].validate["bpq"])
    assert not math.isnan(kept.history[1].validate["bpq"])


def test_adaptive_weights_are_learned_and_recorded(family_data, small_settings):
    settings = changed(small_settings, loss={"weighting": "adaptive"})

    kept = fit_decoder(family_data, settings, device=CPU)

    assert kept.history[0].train["weight_np"] != kept.history[-1].train["weight_np"]


def test_without_validation_tiles_the_last_epoch_is_kept(family_data, small_settings):
    data = dataclasses.replace(family_data, validate=np.zeros(0, np.int64))

    kept = fit_decoder(data, small_settings, device=CPU)

    assert kept.record.epoch == 2
    assert kept.selection.startswith("last epoch")
    assert all(math.isnan(value) for record in kept.history for value in record.validate.values())


def test_validation_tiles_without_nuclei_leave_bpq_undefined(family_data, small_settings):
    data = dataclasses.replace(family_data, validate=np.array([7]))

    kept = fit_decoder(data, small_settings, device=CPU)

    assert kept.selection.startswith("last epoch")
    assert kept.record.validate["hv_l1"] == 0


@pytest.mark.parametrize("row", [pytest.param(0, id="with_nuclei"), pytest.param(7, id="empty")])
def test_a_single_training_tile_is_enough(family_data, small_settings, row):
    data = dataclasses.replace(family_data, train=np.array([row]))

    kept = fit_decoder(data, small_settings, device=CPU)

    assert all(value.isfinite().all() for value in kept.weights.values())


def test_an_absurd_learning_rate_stops_with_a_remedy(family_data, small_settings):
    settings = changed(small_settings, epochs=6, learning_rate=1e30, warmup=0.0, max_norm=1e30)

    with pytest.raises(TrainingDivergedError, match="Lower the learning rate"):
        fit_decoder(family_data, settings, device=CPU)


def test_one_line_an_epoch_is_logged(family_data, small_settings, caplog):
    with caplog.at_level(logging.INFO, logger="cellvit.training.hovernet"):
        fit_decoder(family_data, small_settings, device=CPU)

    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch=")]
    assert len(lines) == 2
    assert "train_hv_magnitude=" in lines[0]
    assert "tiles_per_s=" in lines[0]
    assert "validate_bpq=" in lines[1]


def with_views(open_family_data, *, damaged=(), **features) -> FamilyData:
    """Noise as the features of an encoder that was shown the views that are asked for."""
    settings = ExtractFeaturesSettings(
        encoder=EncoderSettings(preset="tiny-vit", weights="random"), features=FeaturesSettings(**features)
    )
    return open_family_data(settings.features.n_views, settings.model_dump(mode="json"), damaged)


def test_validation_reads_the_upright_tile_alone(open_family_data, small_settings):
    unread = [(row, view) for row in (4, 7) for view in range(1, 9)]
    data = with_views(open_family_data, damaged=unread, views=("dihedral8",), colour_views=1)

    kept = fit_decoder(data, small_settings, device=CPU)

    assert math.isfinite(kept.record.validate["total"])


@pytest.mark.parametrize("view", [0, 3, 8])
def test_training_reads_every_stored_view(open_family_data, small_settings, view):
    damaged = [(row, view) for row in range(4)]
    data = with_views(open_family_data, damaged=damaged, views=("dihedral8",), colour_views=1)

    with pytest.raises(TrainingDivergedError):
        fit_decoder(data, changed(small_settings, epochs=20, bpq_every=20), device=CPU)


def test_without_augmentation_no_other_view_is_read(open_family_data, small_settings):
    unread = [(row, view) for row in range(8) for view in range(1, 8)]
    data = with_views(open_family_data, damaged=unread, views=("dihedral8",))

    kept = fit_decoder(data, changed(small_settings, augment=False), device=CPU)

    assert all(value.isfinite().all() for value in kept.weights.values())


def test_turned_tokens_stored_views_and_none_train_other_decoders(open_family_data, small_settings):
    data = with_views(open_family_data, views=("dihedral8",))
    ways = ({"views": "auto"}, {"views": "stored"}, {"views": "turned"}, {"augment": False})

    auto, stored, turned, none = (fit_decoder(data, changed(small_settings, **way), device=CPU) for way in ways)

    assert torch.equal(auto.weights["hv.weight"], stored.weights["hv.weight"])
    assert not torch.equal(stored.weights["hv.weight"], turned.weights["hv.weight"])
    assert not torch.equal(stored.weights["hv.weight"], none.weights["hv.weight"])


def test_stored_views_that_are_not_there_stop_the_training(family_data, small_settings):
    with pytest.raises(StaleFileError, match="the file has only identity"):
        fit_decoder(family_data, changed(small_settings, views="stored"), device=CPU)
