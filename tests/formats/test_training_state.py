"""The state of a training is read back exactly as it was written, or not at all."""

import logging
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellvit.errors import BusyFolderError
from cellvit.formats.history import RoundRecord
from cellvit.formats.training_state import StateFile, TrainingState, resuming

MADE_BY = {"seed": "1", "content of fold1.h5": "0a"}
NAMES = ("a.safetensors", "a_history.csv")


def state_of(rounds: int) -> TrainingState:
    """A state with every kind of array and number that trainings have, after rounds of ten steps."""
    random = np.random.default_rng(rounds)
    return TrainingState(
        history=tuple(
            RoundRecord(10 * n, n / 3, 0.1 / n, {"total": 1 / 3}, {"bpq": math.nan if n % 2 else 0.1})
            for n in range(1, rounds + 1)
        ),
        selected=10,
        weights={"weight": random.random((2, 3), np.float32), "seen": np.array(7)},
        arrays={
            "model/weight": random.random((2, 3), np.float32),
            "model/known": np.array([True, False]),
            "optimizer/11/step": np.array(2.0, np.float32),
            "average/seen": np.array(3),
        },
    )


@pytest.fixture
def states(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "a.safetensors.state", MADE_BY)


def equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        (found[name].dtype, found[name].shape, found[name].tobytes()) == (values.dtype, values.shape, values.tobytes())
        for name, values in expected.items()
    )


def test_the_last_state_is_read_back_to_the_last_bit(states: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    assert states.read() is None
    states.write(state_of(1))
    states.write(expected := state_of(3))

    found = states.read()
    states.path.write_bytes(bytes(states.path.stat().st_size))  # what was read does not depend on the file

    assert found is not None
    assert (found.step, found.selected) == (30, 10)
    assert found.selected_record is found.history[0]
    assert repr(found.history) == repr(expected.history)  # NaN equals nothing, not even itself
    assert equal(found.weights, expected.weights)
    assert equal(found.arrays, expected.arrays)
    assert list(states.path.parent.iterdir()) == [states.path]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        pytest.param({**MADE_BY, "seed": "2"}, "seed was 1 and is now 2", id="changed"),
        pytest.param({**MADE_BY, "threads": "2"}, "threads was None and is now 2", id="added"),
        pytest.param({"seed": "1"}, "content of fold1.h5 was 0a and is now None", id="removed"),
    ],
)
def test_a_state_of_another_training_is_refused_and_the_log_says_why(
    states: StateFile, caplog: pytest.LogCaptureFixture, now: dict[str, str], cause: str
) -> None:
    states.write(state_of(1))

    assert StateFile(states.path, now).read() is None

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"starting from scratch: cannot resume because {cause}")


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.9999])
def test_a_state_that_was_cut_is_refused(states: StateFile, caplog: pytest.LogCaptureFixture, share: float) -> None:
    states.write(state_of(2))
    whole = states.path.read_bytes()
    states.path.write_bytes(whole[: int(share * len(whole))])

    assert states.read() is None
    assert "cannot resume because the state is damaged" in caplog.text


def test_a_flipped_bit_anywhere_is_noticed(states: StateFile) -> None:
    states.write(state_of(2))
    whole = states.path.read_bytes()
    places = [*range(0, len(whole), 17), len(whole) - 1]

    read = []
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        states.path.write_bytes(damaged)
        read.append(states.read())

    assert len(places) > 50
    assert read == [None] * len(places)


def test_a_training_that_ends_without_error_leaves_no_state_and_no_temporary_files(tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in NAMES]
    (tmp_path / ".partial").mkdir()
    leftovers = [".partial/.a.safetensors.state.7.part", ".a.safetensors.7.part", "..a_history.csv.7.part.7.part"]
    for name in leftovers:
        (tmp_path / name).touch()

    with resuming(*outputs, MADE_BY) as states:
        states.write(state_of(1))

    assert [path.name for path in tmp_path.rglob("*")] == [".partial"]


def test_a_training_that_fails_leaves_its_state_to_the_next_run(tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in NAMES]

    with pytest.raises(OSError, match="disk is full"), resuming(*outputs, MADE_BY) as states:  # noqa: PT012  # as a stage
        states.write(state_of(1))
        raise OSError("disk is full")

    with resuming(*outputs, MADE_BY) as states:
        found = states.read()
    assert found is not None
    assert found.step == 10


def test_states_of_two_models_in_one_folder_are_independent(tmp_path: Path) -> None:
    names = [[tmp_path / f"{letter}{end}" for end in (".safetensors", "_history.csv")] for letter in "ab"]
    with resuming(*names[0], MADE_BY) as one, resuming(*names[1], MADE_BY) as other:
        one.write(state_of(1))
        other.write(state_of(2))
        found = one.read(), other.read()

    assert [state.step for state in found if state] == [10, 20]


def test_a_model_that_another_process_trains_is_refused(tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in NAMES]
    program = (
        "import sys, pathlib; from cellvit.formats.training_state import resuming\n"
        "with resuming(*map(pathlib.Path, sys.argv[1:]), {}): print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, outputs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"\n"

    with pytest.raises(
        BusyFolderError,
        match=rf"another process trains this model: host .* process {other.pid}, since .* Fix: wait for it, or end it",
    ):
        resuming(*outputs, MADE_BY).__enter__()
    other.kill()
    other.communicate()

    with resuming(*outputs, MADE_BY) as states:
        assert states.read() is None
