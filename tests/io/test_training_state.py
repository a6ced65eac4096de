"""The state of a training comes back as it was written, or not at all."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import Progress, Snapshot, StateFile, TrainingState, resuming

FINGERPRINT = {"training.epochs": "50", "content of features_fold1": "0a" * 32}


def state_of(epochs: int) -> TrainingState:
    """A state with every kind of tensor and number that trainings have."""
    drawn = np.random.default_rng(3)
    drawn.integers(5)  # half of a drawn word stays in the generator
    history = tuple(
        EpochRecord(epoch, 0.1 / epoch, {"total": 1 / 3}, {"bpq": math.nan if epoch % 2 else 0.1})
        for epoch in range(1, epochs + 1)
    )
    torch.manual_seed(epochs)
    return TrainingState(
        Progress(history, 1, {"weight": torch.rand(2, 3), "seen": torch.tensor(7)}),
        Snapshot(
            modules={
                "model/weight": torch.rand(2, 3),
                "model/known": torch.tensor([True, False]),
                "loss/s": torch.rand(3),
            },
            optimizer={"0/step": torch.tensor(4.0), "0/exp_avg": torch.rand(2, 3), "11/step": torch.tensor(2.0)},
            torch_random={"cpu": torch.get_rng_state()},
            generators={"ORDER": dict(drawn.bit_generator.state)},
        ),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hovernet_digestive.safetensors.state"


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def test_a_state_comes_back_to_the_last_bit(path: Path) -> None:
    expected = state_of(3)
    StateFile(path, FINGERPRINT).write(expected)

    found = StateFile(path, FINGERPRINT).read()

    assert found is not None
    assert repr(found.progress.history) == repr(expected.progress.history)  # NaN equals nothing, itself included
    assert found.progress.kept == 1
    assert equal(found.progress.weights, expected.progress.weights)
    for part in ("modules", "optimizer", "torch_random"):
        assert equal(getattr(found.snapshot, part), getattr(expected.snapshot, part)), part
    assert found.snapshot.generators == expected.snapshot.generators


def test_a_later_state_takes_the_place_of_the_earlier_one(path: Path) -> None:
    states = StateFile(path, FINGERPRINT)
    states.write(state_of(1))
    states.write(state_of(2))

    found = states.read()

    assert found is not None
    assert found.progress.epoch == 2
    assert list(path.parent.iterdir()) == [path]


def test_what_is_read_does_not_depend_on_the_file_any_more(path: Path) -> None:
    states = StateFile(path, FINGERPRINT)
    states.write(state_of(1))
    found = states.read()
    path.write_bytes(bytes(path.stat().st_size))

    assert found is not None
    assert equal(found.snapshot.modules, state_of(1).snapshot.modules)


def test_without_a_state_there_is_none_and_no_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert StateFile(path, FINGERPRINT).read() is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("now", "said"),
    [
        pytest.param(
            {**FINGERPRINT, "training.epochs": "60"}, "because training.epochs: 50 then, 60 now", id="changed"
        ),
        pytest.param({**FINGERPRINT, "threads": "2"}, "because threads: None then, 2 now", id="added"),
        pytest.param({"training.epochs": "50"}, f"content of features_fold1: {'0a' * 32} then, None now", id="removed"),
    ],
)
def test_a_state_of_another_training_is_refused_with_each_value_then_and_now(
    path: Path, caplog: pytest.LogCaptureFixture, now: dict[str, str], said: str
) -> None:
    StateFile(path, FINGERPRINT).write(state_of(1))

    assert StateFile(path, now).read() is None

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"begun anew, not resumed state={path} " in record.getMessage()
    assert record.getMessage().endswith(said)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.9999])
def test_a_state_that_was_cut_is_refused(path: Path, caplog: pytest.LogCaptureFixture, share: float) -> None:
    StateFile(path, FINGERPRINT).write(state_of(2))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])

    assert StateFile(path, FINGERPRINT).read() is None
    assert "because it is damaged" in caplog.text


def test_a_flipped_bit_anywhere_is_noticed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    StateFile(path, FINGERPRINT).write(state_of(2))
    whole = path.read_bytes()
    places = [*range(0, len(whole), 97), len(whole) - 1]

    read = []
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        read.append(StateFile(path, FINGERPRINT).read())

    assert len(places) > 50
    assert read == [None] * len(places)


def test_a_training_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    with resuming(tmp_path / "a.safetensors", FINGERPRINT) as states:
        states.write(state_of(1))
        assert states.path.parent == tmp_path / ".partial"

    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_training_that_fails_leaves_its_state_and_the_log_says_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        with resuming(tmp_path / "a.safetensors", FINGERPRINT) as states:
            states.write(state_of(1))
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        fail()

    with resuming(tmp_path / "a.safetensors", FINGERPRINT) as states:
        found = states.read()
    assert found is not None
    assert found.progress.epoch == 1
    assert f"the next run goes on from state={tmp_path / '.partial' / 'a.safetensors.state'}" in caplog.text


def test_states_of_two_models_of_one_folder_are_apart(tmp_path: Path) -> None:
    with (
        resuming(tmp_path / "a.safetensors", FINGERPRINT) as one,
        resuming(tmp_path / "b.safetensors", FINGERPRINT) as other,
    ):
        one.write(state_of(1))
        other.write(state_of(2))
        found = one.read(), other.read()

    assert [state.progress.epoch for state in found if state] == [1, 2]
