"""extract_features goes on where it was stopped."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from extracting import arguments, extract

from cellvit.__main__ import main
from cellvit.formats.features import open_features

N = 60


def killed_in_mid_extraction(command: list[str], journal: Path, *, lines: int) -> int:
    """Start the stage in a process of its own and kill it -9 once the journal has that many lines."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "cellvit", *command], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error.decode()
    return journal.read_bytes().count(b"\n") - 1


def test_an_extraction_killed_in_the_middle_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, whole, path = (
        write_tiles(list(range(N))),
        tmp_path / "whole" / "fold1.h5",
        tmp_path / "features" / "fold1.h5",
    )
    expected = extract(tiles, whole, "--batch-size", "2")
    journal = path.parent / ".partial" / "fold1.jsonl"
    blocks = killed_in_mid_extraction(arguments(tiles, path, "--batch-size", "2"), journal, lines=6)

    assert not path.exists()
    with caplog.at_level(logging.INFO):
        found = extract(tiles, path, "--batch-size", "2")

    assert 5 <= blocks < N // 2
    assert f"rows={2 * blocks} of={N}" in caplog.text
    assert f"features written tiles={N - 2 * blocks} of which reused=0" in caplog.text
    assert found == expected
    assert path.read_bytes() == whole.read_bytes()
    assert list((path.parent / ".partial").iterdir()) == []


@pytest.fixture
def stopped(tmp_path: Path, write_tiles: Callable[..., Path]) -> tuple[Path, Path]:
    """Tiles, and the store of an extraction that stopped after four blocks of two."""
    tiles, path = write_tiles(list(range(12))), tmp_path / "features" / "fold1.h5"
    with pytest.MonkeyPatch.context() as patch:
        from cellvit.stages import extract_features

        real = extract_features.append_features

        def until_full(writer: object, batch: object) -> None:
            if writer.row == 8:  # type: ignore[attr-defined]
                raise OSError("disk is gone")
            real(writer, batch)  # type: ignore[arg-type]

        patch.setattr(extract_features, "append_features", until_full)
        with pytest.raises(OSError, match="disk is gone"):
            main(arguments(tiles, path, "--batch-size", "2"))
    return tiles, path


def test_a_fault_of_the_writer_ends_the_stage_and_leaves_no_output(stopped: tuple[Path, Path]) -> None:
    _, path = stopped

    assert not path.exists()
    assert (path.parent / ".partial" / "fold1.jsonl").read_text().count("rows") == 1


def test_rows_that_were_torn_after_the_journal_named_them_are_written_again(
    stopped: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = stopped
    with h5py.File(path.parent / ".partial" / "fold1.h5", "r+") as file:
        file["tokens"][5, 0, 0, 3, 3, :40] = 0

    with caplog.at_level(logging.INFO):
        found = extract(tiles, path, "--batch-size", "2")

    assert "damaged" in caplog.text
    assert "rows=4-5" in caplog.text
    assert found == extract(tiles, tmp_path / "whole" / "fold1.h5", "--batch-size", "2")


def test_a_journal_whose_last_line_was_cut_is_believed_up_to_there(
    stopped: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = stopped
    journal = path.parent / ".partial" / "fold1.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])

    with caplog.at_level(logging.INFO):
        extract(tiles, path, "--batch-size", "2")

    assert "rows=6 of=12" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"seed": 1}, "settings: ", id="settings"),
        pytest.param({"batch_size": "4"}, "block: 2 then, 4 now", id="block"),
        pytest.param({"shown": [99, *range(1, 12)]}, "tiles: ", id="tiles"),
    ],
)
def test_what_was_left_by_another_extraction_is_begun_anew_and_the_log_says_why(
    stopped: tuple[Path, Path],
    write_tiles: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object],
    said: str,
) -> None:
    tiles, path = stopped
    if "shown" in change:
        tiles = write_tiles(change["shown"])

    with caplog.at_level(logging.INFO):
        extract(tiles, path, "--batch-size", change.get("batch_size", "2"), seed=change.get("seed", 0))

    assert "begun anew" in caplog.text
    assert said in caplog.text
    assert "features written tiles=12 of which reused=0" in caplog.text


def test_a_partial_file_that_is_no_hdf5_is_begun_anew(
    stopped: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = stopped
    (path.parent / ".partial" / "fold1.h5").write_bytes(b"torn")

    with caplog.at_level(logging.INFO):
        extract(tiles, path, "--batch-size", "2")

    assert "no readable HDF5 file" in caplog.text


def test_two_extractions_of_one_store_wait_for_each_other(tmp_path: Path, write_tiles: Callable[..., Path]) -> None:
    tiles, path = write_tiles(list(range(6))), tmp_path / "features" / "fold1.h5"
    command = [sys.executable, "-m", "cellvit", *arguments(tiles, path, "--batch-size", "1")]

    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    logs = [process.communicate(timeout=120)[1].decode() for process in both]

    assert [process.returncode for process in both] == [0, 0], logs
    with open_features(path) as store:
        assert len(store) == 6
    assert list((path.parent / ".partial").iterdir()) == []
