"""A training that goes on from any of its epochs is the training that was not stopped."""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.models import OrganHeadSettings
from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.formats.training_state import StateFile, TrainingState
from cellvit.training.hovernet import FamilyData, fit_decoder
from cellvit.training.organ_head import OrganTiles, fit_organ_head
from cellvit.training.selection import Kept

CPU = torch.device("cpu")
FINGERPRINT = {"seed": "0"}
EPOCHS = 4


class EveryState(StateFile):
    """A state file that lays a copy of each of its states aside."""

    def write(self, state: TrainingState) -> None:
        super().write(state)
        shutil.copy(self.path, self.of_epoch(state.progress.epoch))

    def of_epoch(self, epoch: int) -> Path:
        return self.path.with_suffix(f".{epoch}")


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """CPU threads of torch: one where the test does not say otherwise."""
    before, wanted = torch.get_num_threads(), getattr(request, "param", 1)
    torch.set_num_threads(wanted)
    yield wanted
    torch.set_num_threads(before)


@pytest.fixture
def states(tmp_path: Path) -> EveryState:
    return EveryState(tmp_path / "training.state", FINGERPRINT)


def assert_resumes(train: Callable[[StateFile | None], Kept], states: EveryState, epochs: Sequence[int]) -> None:
    """Train without a state, with one, and from that of each of `epochs`; all must end the same."""
    expected = train(None)
    assert same(train(states), expected)
    for epoch in epochs:
        shutil.copy(states.of_epoch(epoch), states.path)
        assert same(train(StateFile(states.path, FINGERPRINT)), expected), f"from epoch {epoch}"


def same(found: Kept, expected: Kept) -> bool:
    """Equal weights, history, kept epoch and words, to the last bit."""
    return (
        found.weights.keys() == expected.weights.keys()
        and all(torch.equal(found.weights[name], value) for name, value in expected.weights.items())
        and repr(found.history) == repr(expected.history)
        and repr(found.record) == repr(expected.record)
        and found.selection == expected.selection
    )


@pytest.fixture
def decoder_settings(small_settings: TrainHovernetSettings) -> TrainHovernetSettings:
    """Dropout, learned weights of the loss, and bPQ measured after epochs 2 and 4."""
    raw = small_settings.model_dump()
    raw["decoder"]["dropout"] = 0.3
    raw["training"] |= {"epochs": EPOCHS, "loss": {"weighting": "adaptive"}}
    return TrainHovernetSettings.model_validate(raw)


@pytest.mark.slow
def test_a_decoder_with_dropout_and_learned_loss_weights_resumes_from_every_epoch_bit_for_bit(
    family_data: FamilyData, decoder_settings: TrainHovernetSettings, states: EveryState
) -> None:
    assert_resumes(
        lambda found: fit_decoder(family_data, decoder_settings, device=CPU, states=found),
        states,
        range(1, EPOCHS + 1),
    )


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2], indirect=True)
def test_a_decoder_resumes_bit_for_bit_with_two_threads(
    family_data: FamilyData, decoder_settings: TrainHovernetSettings, states: EveryState
) -> None:
    assert_resumes(
        lambda found: fit_decoder(family_data, decoder_settings, device=CPU, states=found), states, [EPOCHS - 1]
    )


def test_stored_views_are_drawn_on_where_they_were(
    open_family_data: Callable[..., FamilyData],
    decoder_settings: TrainHovernetSettings,
    states: EveryState,
) -> None:
    extracted = ExtractFeaturesSettings(
        encoder=EncoderSettings(preset="tiny-vit", weights="random"), features=FeaturesSettings(views=("dihedral8",))
    )
    data = open_family_data(8, extracted.model_dump(mode="json"))

    assert_resumes(lambda found: fit_decoder(data, decoder_settings, device=CPU, states=found), states, [1, 3])


def test_without_validation_tiles_the_last_epoch_is_kept_however_often_it_was_stopped(
    family_data: FamilyData, decoder_settings: TrainHovernetSettings, states: EveryState
) -> None:
    data = dataclasses.replace(family_data, validate=np.zeros(0, np.int64))

    assert_resumes(lambda found: fit_decoder(data, decoder_settings, device=CPU, states=found), states, [1, 3])


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("validate", [pytest.param(12, id="validated"), pytest.param(0, id="not_validated")])
def test_an_organ_head_with_dropout_resumes_from_every_epoch_bit_for_bit(states: EveryState, validate: int) -> None:
    rng = np.random.default_rng(0)
    train, validation = (
        OrganTiles(rng.normal(size=(n, 12)).astype(np.float32), rng.integers(0, 3, n)) for n in (40, validate)
    )
    settings = OrganHeadSettings(epochs=12, hidden=16, batch_size=16, learning_rate=1e-2, dropout=0.4)

    def trained(found: StateFile | None) -> Kept:
        fitted = fit_organ_head(train, validation, settings, seed=0, device=CPU, states=found)
        temperature = fitted.module.temperature.clone()
        return dataclasses.replace(fitted.kept, weights={**fitted.kept.weights, "calibrated": temperature})

    assert_resumes(trained, states, range(1, settings.epochs + 1))


def test_only_the_epochs_that_are_missing_are_trained_and_the_log_says_where_it_went_on(
    family_data: FamilyData,
    decoder_settings: TrainHovernetSettings,
    states: EveryState,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fit_decoder(family_data, decoder_settings, device=CPU, states=states)
    shutil.copy(states.of_epoch(2), states.path)

    with caplog.at_level(logging.INFO):
        fit_decoder(family_data, decoder_settings, device=CPU, states=states)

    lines = [record.getMessage() for record in caplog.records]
    assert f"resumed epoch=2 of={EPOCHS} state={states.path}" in lines
    assert [line.split()[0] for line in lines if line.startswith("epoch=")] == ["epoch=3/4", "epoch=4/4"]


def test_a_finished_training_whose_outputs_were_not_written_trains_nothing_more(
    family_data: FamilyData,
    decoder_settings: TrainHovernetSettings,
    states: EveryState,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = fit_decoder(family_data, decoder_settings, device=CPU, states=states)

    with caplog.at_level(logging.INFO):
        found = fit_decoder(family_data, decoder_settings, device=CPU, states=states)

    assert same(found, expected)
    assert not [record for record in caplog.records if record.getMessage().startswith("epoch=")]
