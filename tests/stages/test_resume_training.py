"""Trainings that are killed or cancelled resume from their last round, and end exactly as if they had not been stopped."""

import dataclasses
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel
from stopping import rounds_in, stopped_after, stopped_at_change

from cellvit.config.steps import TrainHovernetSettings, TrainOrganHeadSettings
from cellvit.errors import TrainingDivergedError
from cellvit.stages import train_hovernet, train_organ_head

DECODER = TrainHovernetSettings.model_validate(
    {
        "decoder": {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6], "dropout": 0.3},
        "training": {"steps": 16, "record_every": 2, "validate_every": 4, "batch_size": 2, "learning_rate": 1e-3},
        "seed": 0,
    }
)
HEAD = TrainOrganHeadSettings.model_validate(
    {"organ_head": {"epochs": 100, "hidden": 64, "batch_size": 2, "dropout": 0.3}, "seed": 0}
)
BOTH = pytest.mark.parametrize("name", ["hovernet", "organ_head"])


@dataclasses.dataclass(frozen=True)
class Training:
    """A training of a small run."""

    step: ModuleType
    arguments: Any

    @property
    def command(self) -> list[str]:
        """Name of the step and its options."""
        parts = [self.step.__name__.rpartition(".")[2]]
        for field in dataclasses.fields(self.arguments):
            value = getattr(self.arguments, field.name)
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            shown = (one.model_dump_json() if isinstance(one, BaseModel) else str(one) for one in values)
            parts += [f"--{field.name.replace('_', '-')}", *shown]
        return parts

    @property
    def outputs(self) -> list[Path]:
        return [self.arguments.checkpoint, self.arguments.history]

    @property
    def state(self) -> Path:
        return self.arguments.checkpoint.parent / ".partial/model.safetensors.state"

    @property
    def rounds(self) -> int:
        settings = self.arguments.settings
        if self.step is train_organ_head:
            return int(settings.organ_head.epochs)
        return int(settings.training.steps // self.steps_per_round)

    @property
    def steps_per_round(self) -> int:
        """Of the decoder as set; of OrganHead an epoch of twelve tiles."""
        settings = self.arguments.settings
        if self.step is train_organ_head:
            return int(12 // settings.organ_head.batch_size)
        return int(settings.training.record_every)

    def of_rounds(self, rounds: int, **training: float) -> "Training":
        """The same training of as many rounds."""
        if self.step is train_organ_head:
            return self.of_settings("organ_head", epochs=rounds)
        return self.of_settings("training", steps=rounds * self.steps_per_round, **training)

    def run(self) -> None:
        self.step.run(self.arguments)

    def changed(self, **changes: object) -> "Training":
        return dataclasses.replace(self, arguments=dataclasses.replace(self.arguments, **changes))

    def of_settings(self, section: str = "", **changes: object) -> "Training":
        """The same training with other settings (of a section)."""
        raw = self.arguments.settings.model_dump()
        (raw[section] if section else raw).update(changes)
        return self.changed(settings=type(self.arguments.settings).model_validate(raw))

    def contents(self) -> list[bytes | None]:
        return [path.read_bytes() if path.exists() else None for path in self.outputs]

    def expected(self) -> list[bytes | None]:
        """What an uninterrupted training writes, into a folder beside that of this one."""
        folder = self.arguments.checkpoint.parent.with_name("whole")
        checkpoint, history = (folder / path.name for path in self.outputs)
        whole = self.changed(checkpoint=checkpoint, history=history)
        whole.run()
        return whole.contents()


@pytest.fixture
def hovernet(write_small_run: Callable[..., Any]) -> Training:
    return hovernet_of(write_small_run({1: ["Colon", "Liver", "Colon", "Colon"], 2: ["Colon"]}))


def hovernet_of(run: Any) -> Training:
    run.gather("digestive", ["Colon", "Stomach"])
    members = tuple(run.members("digestive", fold) for fold in run.folds)
    outside = {"family": "digestive", "members": members, "maps": run.root / "maps/digestive.h5"}
    arguments = train_hovernet.Arguments(settings=DECODER, **outside, **_common(run))
    return Training(train_hovernet, arguments)


@pytest.fixture
def organ_head(write_small_run: Callable[..., Any]) -> Training:
    three = ["Colon", "Breast", "Liver"]
    run = write_small_run({1: 4 * three, 2: three})
    return Training(train_organ_head, train_organ_head.Arguments(settings=HEAD, checks=(), **_common(run)))


def _common(run: Any) -> dict[str, Any]:
    return {
        "split": "1",
        "train_folds": (1,),
        "validate_folds": (2,),
        "tiles": tuple(map(run.tiles, run.folds)),
        "features": tuple(map(run.features, run.folds)),
        "checkpoint": run.root / "checkpoints/model.safetensors",
        "history": run.root / "checkpoints/model_history.csv",
        "device": "cpu",
        "code": "abc123",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rounds", "by"),
    [
        pytest.param("hovernet", 1, signal.SIGTERM, id="decoder_cancelled_early"),
        pytest.param("hovernet", 4, signal.SIGKILL, id="decoder_killed_late"),
        pytest.param("organ_head", 1, signal.SIGKILL, id="organ_head_killed_early"),
        pytest.param("organ_head", 30, signal.SIGTERM, id="organ_head_cancelled_late"),
    ],
)
def test_a_training_stopped_at_any_round_ends_as_if_it_had_not_been(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, name: str, rounds: int, by: signal.Signals
) -> None:
    training: Training = request.getfixturevalue(name)
    expected = training.expected()

    code, _ = stopped_after(training.command, training.state, rounds=rounds, by=by)
    found, written = rounds_in(training.state), training.contents()
    with caplog.at_level(logging.INFO):
        training.run()

    assert code == -by
    assert rounds <= found < training.rounds
    assert written == [None, None]
    assert f"resumed after step={found * training.steps_per_round} state={training.state}" in caplog.text
    assert training.contents() == expected
    left = {path.name for path in training.state.parents[1].rglob("*") if path.is_file()}
    assert left == {path.name for path in training.outputs}


@pytest.mark.slow
@BOTH
def test_a_kill_while_outputs_are_written_never_leaves_those_of_two_trainings_side_by_side(
    request: pytest.FixtureRequest, name: str
) -> None:
    training: Training = request.getfixturevalue(name)
    training = training.of_rounds(2)
    expected = training.expected()
    training.of_settings(seed=5).run()
    before, found = training.contents(), []

    for count in range(1, 10):
        code, _ = stopped_at_change(training.command, training.outputs, count=count, by=signal.SIGKILL)
        found.append(training.contents())
        if code == 0:
            break
        assert rounds_in(training.state) == training.rounds

    assert (found[0], found[-1]) == (before, expected)
    assert len(found) == 4  # the history is removed, the checkpoint renamed, the history renamed; then nothing
    for contents in found:
        of_both = zip(contents, before, expected, strict=True)
        assert {new == one for one, old, new in of_both if one is not None} != {True, False}
    assert not training.state.exists()


def test_a_training_that_fails_leaves_the_old_outputs_in_place(hovernet: Training) -> None:
    hovernet.of_rounds(2).run()
    before = hovernet.contents()

    with pytest.raises(TrainingDivergedError):
        hovernet.of_rounds(6, learning_rate=1e30, max_norm=1e30, warmup=0.0).run()

    assert hovernet.contents() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        pytest.param({"settings": HEAD.model_copy(update={"seed": 1})}, "seed was 1 and is now 0", id="settings"),
        pytest.param({"code": "def456"}, "code was def456 and is now abc123", id="code"),
        pytest.param({}, "the state is damaged", id="damaged"),
    ],
)
def test_the_state_of_another_training_is_not_used(
    organ_head: Training, caplog: pytest.LogCaptureFixture, change: dict[str, Any], cause: str
) -> None:
    other = organ_head.changed(**change)
    stopped_after(other.command, other.state, rounds=1, by=signal.SIGKILL)
    if not change:
        whole = other.state.read_bytes()
        other.state.write_bytes(whole[: len(whole) // 2])

    assert_starts_from_scratch(organ_head, caplog, cause)


@pytest.mark.slow
def test_the_state_of_other_tiles_is_not_used(
    hovernet: Training, write_small_run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    stopped_after(hovernet.command, hovernet.state, rounds=1, by=signal.SIGKILL)

    changed = hovernet_of(write_small_run({1: ["Colon", "Colon", "Liver", "Colon"], 2: ["Colon"]}))

    assert_starts_from_scratch(changed, caplog, "content of ../families/digestive/fold1.h5 was ")
    assert "fold2.h5 was" not in caplog.text


def assert_starts_from_scratch(training: Training, caplog: pytest.LogCaptureFixture, cause: str) -> None:
    """Run a training beside a state that it cannot use: the log says why, and the outputs are those of this training."""
    with caplog.at_level(logging.INFO):
        training.run()
    (warning,) = (r.getMessage() for r in caplog.records if r.getMessage().startswith("starting from scratch"))

    assert f"cannot resume because {cause}" in warning
    assert "resumed after step=" not in caplog.text
    assert training.contents() == training.expected()
