"""A training that resumes from any of its rounds ends exactly as one that was not stopped."""

import logging
import math
import shutil
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.models import OrganHeadSettings
from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.family import FamilyData
from cellvit.formats.history import RoundRecord
from cellvit.formats.provenance import Provenance
from cellvit.formats.training_state import StateFile, TrainingState
from cellvit.training.hovernet import RowsByRole, fit_decoder
from cellvit.training.organ_head import OrganTiles, fit_organ_head
from cellvit.training.resuming import SelectedModel, made_by, train_to_end
from cellvit.training.trainable import Trainable

CPU, GPU = torch.device("cpu"), torch.device("cuda")
MADE_BY = {"seed": "0"}
STEPS = (2, 4, 6, 7)
"""Ends of the rounds of the decoder that is trained here; an epoch has two steps."""


class EveryState(StateFile):
    """A state file that also stores a copy of each of its states."""

    def write(self, state: TrainingState) -> None:
        StateFile.write(self, state)
        shutil.copy(self.path, self.of_step(state.step))

    def of_step(self, step: int) -> Path:
        return self.path.with_suffix(f".{step}")


@pytest.fixture
def states(tmp_path: Path) -> EveryState:
    return EveryState(tmp_path / "training.state", MADE_BY)


def assert_resumes(
    train: Callable[[StateFile | None], SelectedModel], states: EveryState, steps: Sequence[int]
) -> None:
    """Train without a state file, with one, and from the state of each of `steps`; every result must be the same."""
    expected = train(None)
    assert same(train(states), expected)
    for step in steps:
        shutil.copy(states.of_step(step), states.path)
        torch.rand(3)  # random numbers that somebody else draws between two runs
        assert same(train(StateFile(states.path, MADE_BY)), expected), f"from step {step}"


def same(found: SelectedModel, expected: SelectedModel) -> bool:
    """Equal weights, history and selected step, to the last bit."""
    return (
        found.weights.keys() == expected.weights.keys()
        and all(values.tobytes() == found.weights[name].tobytes() for name, values in expected.weights.items())
        and repr((found.history, found.record, found.selection))
        == repr((expected.history, expected.record, expected.selection))
    )


@pytest.fixture
def decoder_settings(small_settings: TrainHovernetSettings) -> TrainHovernetSettings:
    """Everything that is random or has a memory; bPQ measured after steps 4 and 7, in the middle of an epoch."""
    raw = small_settings.model_dump()
    raw["decoder"]["dropout"] = 0.3
    raw["training"] |= {
        "steps": STEPS[-1],
        "loss": {"weighting": "adaptive"},
        "image_jitter": 0.2,
        "image_blur": 1.0,
        "token_noise": 0.3,
    }
    return TrainHovernetSettings.model_validate(raw)


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "steps"), [(1, STEPS), (2, STEPS[2:3])], indirect=["threads"], ids=["one", "two"])
def test_a_decoder_resumes_from_every_round_bit_for_bit(
    family_data: FamilyData,
    rows: RowsByRole,
    decoder_settings: TrainHovernetSettings,
    states: EveryState,
    steps: Sequence[int],
) -> None:
    assert_resumes(
        lambda found: fit_decoder(family_data, rows, decoder_settings, device=CPU, states=found), states, steps
    )


def test_the_weights_do_not_depend_on_how_often_they_are_recorded(
    family_data: FamilyData, rows: RowsByRole, decoder_settings: TrainHovernetSettings
) -> None:
    raw = decoder_settings.model_dump()
    often = raw | {"training": raw["training"] | {"record_every": 1, "validate_every": 7}}
    seldom = raw | {"training": raw["training"] | {"record_every": 7, "validate_every": 7}}

    first, second = (
        fit_decoder(family_data, rows, TrainHovernetSettings.model_validate(one), device=CPU) for one in (often, seldom)
    )

    assert (len(first.history), len(second.history)) == (7, 1)
    assert all(values.tobytes() == second.weights[name].tobytes() for name, values in first.weights.items())


@pytest.mark.parametrize("validate", [pytest.param([4, 7], id="validated"), pytest.param([], id="not_validated")])
def test_the_sampling_of_stored_views_resumes_where_it_was(
    open_family_data: Callable[..., FamilyData],
    rows: RowsByRole,
    decoder_settings: TrainHovernetSettings,
    states: EveryState,
    validate: list[int],
) -> None:
    extracted = ExtractFeaturesSettings(
        encoder=EncoderSettings(preset="tiny-vit", weights="random"), features=FeaturesSettings(views=("dihedral8",))
    )
    data = open_family_data(8, extracted.model_dump(mode="json"))
    rows = rows._replace(validate=np.array(validate, np.int64))

    assert_resumes(lambda found: fit_decoder(data, rows, decoder_settings, device=CPU, states=found), states, [2, 6])


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("validate", [pytest.param(12, id="validated"), pytest.param(0, id="not_validated")])
def test_an_organ_head_resumes_from_every_epoch_bit_for_bit(states: EveryState, validate: int) -> None:
    rng = np.random.default_rng(0)
    train, validation = (
        OrganTiles(rng.normal(size=(n, 12)).astype(np.float32), rng.integers(0, 3, n), 19) for n in (40, validate)
    )
    settings = OrganHeadSettings(epochs=12, hidden=16, batch_size=16, learning_rate=1e-2, dropout=0.4)

    assert_resumes(
        lambda found: fit_organ_head(train, validation, settings, seed=0, device=CPU, states=found),
        states,
        range(3, 3 * settings.epochs + 1, 3),  # 40 tiles in three batches
    )


@pytest.mark.parametrize(("stored", "trained"), [(4, ["step=6/7", "step=7/7"]), (7, [])])
def test_only_the_missing_rounds_are_trained_and_the_log_says_so(
    family_data: FamilyData,
    rows: RowsByRole,
    decoder_settings: TrainHovernetSettings,
    states: EveryState,
    caplog: pytest.LogCaptureFixture,
    stored: int,
    trained: list[str],
) -> None:
    fit_decoder(family_data, rows, decoder_settings, device=CPU, states=states)
    shutil.copy(states.of_step(stored), states.path)

    with caplog.at_level(logging.INFO):
        fit_decoder(family_data, rows, decoder_settings, device=CPU, states=states)

    lines = [record.getMessage() for record in caplog.records]
    assert f"resumed after step={stored} state={states.path}" in lines
    assert [line.split()[0] for line in lines if line.startswith("step=")] == trained


def selected_of(values: Sequence[float], states: StateFile | None = None, patience: int | None = None) -> SelectedModel:
    """A training of one round for each value, whose bias is the number of the step."""
    module = nn.Linear(1, 1)

    def rounds_after(step: int) -> Generator[RoundRecord]:
        for number, value in enumerate(values[step:], step + 1):
            nn.init.constant_(module.bias, number)
            yield RoundRecord(number, 0.5 * number, 1e-3, {}, {"bpq": value})
        nn.init.constant_(module.bias, 99)  # the selected weights are a copy

    trainable = Trainable(module, {}, torch.optim.SGD(module.parameters()), CPU, seed=0)
    return train_to_end(trainable, rounds_after, metric="bpq", states=states, patience=patience)


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "step", "selection"),
    [
        pytest.param([0.1, 0.3, 0.2], 2, "best validation bpq", id="best"),
        pytest.param([0.3, 0.3], 1, "best validation bpq", id="first_of_equal_ones"),
        pytest.param([NAN, 0.1, NAN], 2, "best validation bpq", id="rounds_without_a_value_are_never_better"),
        pytest.param([0.0, NAN], 1, "best validation bpq", id="zero_is_a_value"),
        pytest.param([NAN, NAN], 2, "last step", id="last_without_any_value"),
    ],
)
def test_the_step_of_the_best_value_is_selected_with_its_weights(
    values: list[float], step: int, selection: str
) -> None:
    model = selected_of(values)

    assert (model.record.step, model.weights["bias"].item(), len(model.history)) == (step, step, len(values))
    assert model.selection.startswith(selection)


@pytest.mark.parametrize(
    ("values", "patience", "steps"),
    [
        pytest.param([0.1, 0.3, 0.2, 0.3, 0.4], 2, 4, id="not_better_twice"),
        pytest.param([0.3, 0.2, 0.4, 0.1, 0.1], 2, 5, id="a_better_one_starts_the_count_again"),
        pytest.param([0.3, NAN, NAN, 0.2, NAN, 0.1, 0.4], 2, 6, id="rounds_without_a_value_do_not_count"),
        pytest.param([NAN, NAN, NAN], 1, 3, id="never_without_any_value"),
        pytest.param([0.3, 0.2, 0.1], None, 3, id="never_without_patience"),
    ],
)
def test_a_training_ends_early_where_values_are_not_better_and_stays_ended(
    states: EveryState, values: list[float], patience: int | None, steps: int
) -> None:
    model = selected_of(values, states, patience)
    again = selected_of(values, states, patience)

    assert len(model.history) == steps
    assert same(again, model)
    assert ("training.patience" in model.selection) == (steps < len(values) or (values[-1] == 0.1 and patience == 2))


def identity(device: torch.device = CPU, order: tuple[str, ...] = ("fold1", "fold2"), **changes: object) -> dict:
    origin = Provenance(made_from={"fold1.h5": "0a"}, settings={"training": {"epochs": 50, "loss": {"hv_weight": 2.0}}})
    fields = {"kind": "hovernet", "split": "1", "family": "digestive", "status": "trained", "mpp": 0.25, "code": "abc"}
    header = CheckpointHeader(**{"provenance": origin, "folds": {"train": (1,), "validate": (2,)}, **fields, **changes})
    return made_by(header, [Path(f"{name}.h5") for name in order], device)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param({"split": "2"}, "split", id="split"),
        pytest.param({"family": "all"}, "family", id="family"),
        pytest.param({"kind": "organ_head"}, "model", id="model"),
        pytest.param({"folds": {"train": (2,), "validate": (1,)}}, "folds", id="folds"),
        pytest.param({"order": ("fold2", "fold1")}, "order of the inputs", id="order"),
        pytest.param({"code": "abd"}, "code", id="code"),
        pytest.param({"device": GPU}, "device", id="device"),
        pytest.param({"provenance": Provenance(made_from={"fold1.h5": "0b"})}, "content of fold1.h5", id="data"),
    ],
)
def test_everything_that_decides_the_weights_is_named(change: dict, name: str) -> None:
    before, after = identity(), identity(**change)

    assert before[name] != after[name]
    assert (before["training.epochs"], before["training.loss.hv_weight"]) == ("50", "2.0")
    assert f"torch {torch.__version__}" in before["software"]
