"""Trainings that are killed or cancelled go on from their last epoch, and end as if they had not been."""

import json
import logging
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from stopping import await_epochs, epochs_in, started, stopped_after, stopped_at_change

from cellvit.__main__ import main

DECODER: dict[str, Any] = {
    "decoder": {"widths": [8, 8, 8, 8, 8], "stem_widths": [4, 6], "dropout": 0.3},
    "training": {"epochs": 8, "batch_size": 2, "bpq_every": 2, "learning_rate": 1e-3},
    "seed": 0,
}
HEAD: dict[str, Any] = {"organ_head": {"epochs": 100, "hidden": 64, "batch_size": 2, "dropout": 0.3}, "seed": 0}


@dataclass(frozen=True)
class Training:
    """A training of a small run, and the folder that it writes into."""

    step: str
    root: Path
    settings: dict[str, Any]
    fixed: tuple[str, ...]
    out: Path
    threads: int = 1

    @property
    def arguments(self) -> list[str]:
        outputs = zip(("--checkpoint", "--history", "--evaluation"), map(str, self.outputs), strict=False)
        given = [part for option in outputs for part in option]
        return [self.step, "--settings", json.dumps(self.settings), *self.fixed, *given, "--threads", str(self.threads)]

    @property
    def outputs(self) -> list[Path]:
        names = ["model.safetensors", "model_history.csv", "model_evaluation.json"]
        return [self.out / name for name in names[: 2 if self.step == "train_hovernet" else 3]]

    @property
    def state(self) -> Path:
        return self.out / ".partial" / "model.safetensors.state"

    @property
    def section(self) -> str:
        return "training" if self.step == "train_hovernet" else "organ_head"

    @property
    def epochs(self) -> int:
        return int(self.settings[self.section]["epochs"])

    def of_epochs(self, epochs: int, **changes: object) -> "Training":
        """The same training with that many epochs, and other changes of its section of the settings."""
        return replace(
            self, settings={**self.settings, self.section: {**self.settings[self.section], "epochs": epochs, **changes}}
        )

    def contents(self) -> list[bytes | None]:
        return [path.read_bytes() if path.exists() else None for path in self.outputs]

    def expected(self) -> list[bytes | None]:
        """What an uninterrupted training writes."""
        whole = replace(self, out=self.root / "whole")
        assert main(whole.arguments) == 0
        assert sorted(whole.out.iterdir()) == sorted([whole.state.parent, *whole.outputs])
        assert list(whole.state.parent.iterdir()) == []
        return whole.contents()


@pytest.fixture
def hovernet(write_small_run: Callable[..., Any]) -> Training:
    return hovernet_of(write_small_run({1: ["Colon", "Liver", "Colon", "Colon"], 2: ["Colon"]}))


def hovernet_of(run: Any) -> Training:
    run.gather("digestive", ["Colon", "Stomach"])
    fixed = ["--split", "1", "--family", "digestive", "--train-folds", "1", "--validate-folds", "2"]
    fixed += ["--features", str(run.family("digestive", "features")), "--targets"]
    fixed += [str(run.family("digestive", "targets")), "--code", "abc123", "--device", "cpu"]
    return Training("train_hovernet", run.root, DECODER, tuple(fixed), run.root / "checkpoints")


@pytest.fixture
def organ_head(write_small_run: Callable[..., Any]) -> Training:
    three = ["Colon", "Breast", "Liver"]
    run = write_small_run({1: 4 * three, 2: three, 3: three})
    fixed = ["--split", "1", "--train-folds", "1", "--validate-folds", "2", "--test-folds", "3", "--tiles"]
    fixed += [*(str(run.tiles(fold)) for fold in run.folds), "--features"]
    fixed += [*(str(run.features(fold)) for fold in run.folds), "--code", "abc123", "--device", "cpu"]
    return Training("train_organ_head", run.root, HEAD, tuple(fixed), run.root / "checkpoints")


BOTH = pytest.mark.parametrize("name", ["hovernet", "organ_head"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs"), [("hovernet", 1), ("hovernet", 4), ("organ_head", 1), ("organ_head", 30)])
def test_a_training_killed_at_any_epoch_ends_as_if_it_had_not_been(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, name: str, epochs: int
) -> None:
    training: Training = request.getfixturevalue(name)
    expected = training.expected()

    code, _ = stopped_after(training.arguments, training.state, epochs=epochs, by=signal.SIGKILL)
    found, written = epochs_in(training.state), training.contents()
    with caplog.at_level(logging.INFO):
        assert main(training.arguments) == 0

    assert code == -signal.SIGKILL
    assert epochs <= found < training.epochs
    assert written == [None] * len(training.outputs)
    assert f"resumed epoch={found} of={training.epochs} state={training.state}" in caplog.text
    assert training.contents() == expected
    assert list(training.state.parent.iterdir()) == []


@pytest.mark.slow
@BOTH
def test_a_training_that_is_cancelled_ends_in_order_and_goes_on_when_called_again(
    request: pytest.FixtureRequest, name: str
) -> None:
    training: Training = request.getfixturevalue(name)
    expected = training.expected()

    code, log = stopped_after(training.arguments, training.state, epochs=2, by=signal.SIGTERM)
    left = list(training.out.rglob("*"))
    found = epochs_in(training.state)
    assert main(training.arguments) == 0

    assert code == 128 + signal.SIGTERM
    assert f"the next run goes on from state={training.state}" in log
    assert sorted(left) == [training.state.parent, training.state]
    assert 2 <= found < training.epochs
    assert training.contents() == expected


@pytest.mark.slow
@BOTH
def test_a_kill_while_outputs_are_written_never_leaves_those_of_two_trainings_side_by_side(
    request: pytest.FixtureRequest, name: str
) -> None:
    training: Training = request.getfixturevalue(name).of_epochs(2)
    expected = training.expected()
    other = replace(training, settings={**training.settings, "seed": 5})
    assert main(other.arguments) == 0
    before, found = training.contents(), []

    for count in range(1, 10):
        code, _ = stopped_at_change(training.arguments, training.outputs, count=count, by=signal.SIGKILL)
        found.append(training.contents())
        if code == 0:
            break
        assert epochs_in(training.state) == training.epochs

    assert found[0] == before
    assert found[-1] == expected
    assert (
        len(found) == {"hovernet": 4, "organ_head": 6}[name]
    )  # a removal for each file beside the checkpoint, a rename for each
    for contents in found:
        of_both = zip(contents, before, expected, strict=True)
        assert {new == one for one, old, new in of_both if one is not None} != {True, False}
    assert not training.state.exists()


def test_a_retraining_that_fails_leaves_the_old_outputs_in_place(
    hovernet: Training, capsys: pytest.CaptureFixture
) -> None:
    assert main(hovernet.of_epochs(2).arguments) == 0
    before = hovernet.contents()

    code = main(hovernet.of_epochs(6, learning_rate=1e30, max_norm=1e30, warmup=0.0).arguments)

    assert code == 1
    assert "TrainingDivergedError" in capsys.readouterr().err
    assert hovernet.contents() == before


@pytest.mark.slow
def test_a_state_of_other_settings_is_not_gone_on_from(hovernet: Training, caplog: pytest.LogCaptureFixture) -> None:
    stopped_after(hovernet.arguments, hovernet.state, epochs=1, by=signal.SIGKILL)

    assert_begun_anew(hovernet.of_epochs(2), caplog, "because training.epochs: 8 then, 2 now")


@pytest.mark.slow
def test_a_state_of_another_number_of_threads_is_not_gone_on_from(
    organ_head: Training, caplog: pytest.LogCaptureFixture
) -> None:
    of_two = replace(organ_head, threads=2)
    stopped_after(of_two.arguments, of_two.state, epochs=1, by=signal.SIGKILL)

    assert_begun_anew(organ_head, caplog, "because threads: 2 then, 1 now")


@pytest.mark.slow
def test_a_state_of_other_tiles_is_not_gone_on_from(
    hovernet: Training, write_small_run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    stopped_after(hovernet.arguments, hovernet.state, epochs=1, by=signal.SIGKILL)

    changed = hovernet_of(write_small_run({1: ["Colon", "Colon", "Liver", "Colon"], 2: ["Colon"]}))

    assert_begun_anew(changed, caplog, "because content of features_fold1: ")
    assert "content of features_fold2" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("added", "resumes"), [("UNUSED = 1\n", False), ("# a comment\n", True)])
def test_a_state_of_other_code_is_not_gone_on_from_and_comments_do_not_count(
    organ_head: Training, repository: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, added: str, resumes: bool
) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(repository / "cellvit", edited / "cellvit", ignore=shutil.ignore_patterns("__pycache__"))
    with (edited / "cellvit/training/schedule.py").open("a") as module:
        module.write(added)
    stopped_after(organ_head.arguments, organ_head.state, epochs=1, by=signal.SIGKILL, package=edited)

    if resumes:
        with caplog.at_level(logging.INFO):
            assert main(organ_head.arguments) == 0
        assert "resumed epoch=" in caplog.text
    else:
        assert_begun_anew(organ_head, caplog, "because code: ")


@pytest.mark.slow
def test_a_damaged_state_is_not_gone_on_from(organ_head: Training, caplog: pytest.LogCaptureFixture) -> None:
    stopped_after(organ_head.arguments, organ_head.state, epochs=1, by=signal.SIGKILL)
    whole = organ_head.state.read_bytes()
    organ_head.state.write_bytes(whole[: len(whole) // 2])

    assert_begun_anew(organ_head, caplog, "because it is damaged")


def assert_begun_anew(training: Training, caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Run a training beside a state that does not fit: the log says why, and the outputs are its own."""
    with caplog.at_level(logging.INFO):
        assert main(training.arguments) == 0
    (warning,) = (r.getMessage() for r in caplog.records if r.getMessage().startswith("begun anew"))

    assert said in warning
    assert "resumed epoch=" not in caplog.text
    assert training.contents() == training.expected()


@pytest.mark.slow
def test_a_second_run_waits_for_the_first_and_goes_on_where_that_is_killed(hovernet: Training) -> None:
    expected = hovernet.expected()
    first = started(hovernet.arguments)
    await_epochs(first, hovernet.state, 1)
    first.send_signal(signal.SIGSTOP)
    found = epochs_in(hovernet.state)

    second = started(hovernet.arguments)
    said = next(line for line in second.stderr if b"waiting for it" in line)
    first.kill()
    first.communicate()
    log = second.communicate(timeout=120)[1].decode()

    assert b"hovernet" not in said
    assert b"model.safetensors.lock" in said
    assert second.returncode == 0, log
    assert f"resumed epoch={found} of={hovernet.epochs}" in log
    assert hovernet.contents() == expected


@pytest.mark.slow
def test_two_runs_at_a_time_both_end_well(organ_head: Training) -> None:
    expected = organ_head.expected()

    both = [started(organ_head.arguments) for _ in range(2)]
    logs = [process.communicate(timeout=240)[1].decode() for process in both]

    assert [process.returncode for process in both] == [0, 0], logs
    assert organ_head.contents() == expected
    assert list(organ_head.state.parent.iterdir()) == []
