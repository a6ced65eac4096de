"""Stores that take long are resumed after a kill, by the digest of each row."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cellvit.formats.features import FEATURES
from cellvit.formats.locks import locked
from cellvit.formats.provenance import Provenance
from cellvit.formats.writing import resumable_writing

N = 6
SIZES = {"views": 1, "blocks": 1, "g": 16, "dim": 16}
MADE_BY = {"seed": "0", "code": "abc"}

IN_A_PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_writing import write
write(Path(sys.argv[1]), die_at=int(sys.argv[2]))
"""


def rows(start, stop):
    values = np.arange(start, stop, dtype=np.float32)
    return {
        "cls": np.tile(values[:, None, None] + 1, (1, 1, 16)),
        "tokens": np.tile(values[:, None, None, None, None, None] + 1, (1, 1, 1, 16, 16, 16)).astype(np.float16),
    }


def write(path, *, made_by=MADE_BY, die_at=-1):
    """Write row by row; the number of the first row that was written."""
    with resumable_writing(path, FEATURES, N, SIZES, Provenance(), made_by=made_by) as writer:
        first = writer.row
        for row in range(first, N):
            if row == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            writer.append(**rows(row, row + 1))
    return first


def started(path, *, die_at):
    """Write in a process of its own."""
    program = IN_A_PROCESS.format(folder=str(Path(__file__).parent))
    command = [sys.executable, "-c", program, str(path), str(die_at)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def killed(path, *, at):
    done = started(path, die_at=at)
    assert done.returncode == -signal.SIGKILL
    return path.parent / ".partial" / path.name


@pytest.mark.parametrize("at", [0, 1, N - 1])
def test_a_store_whose_writer_was_killed_continues_and_ends_equal(tmp_path, at):
    write(tmp_path / "whole.h5")
    killed(tmp_path / "f.h5", at=at)
    absent = not (tmp_path / "f.h5").exists()

    first = write(tmp_path / "f.h5")

    assert absent
    assert first == at
    assert (tmp_path / "f.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_row_that_was_torn_is_written_again(tmp_path):
    write(tmp_path / "whole.h5")
    partial = killed(tmp_path / "f.h5", at=4)
    with h5py.File(partial, "r+") as file:
        file["tokens"][2, 0, 0, 3, 3, :8] = 0

    first = write(tmp_path / "f.h5")

    assert first == 2
    assert (tmp_path / "f.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param("other_seed", "cannot resume because seed was 0 and is now 1", id="made_by_something_else"),
        pytest.param("not_hdf5", "cannot resume because the file cannot be read", id="not_hdf5"),
    ],
)
def test_what_cannot_be_resumed_starts_from_scratch_and_the_log_says_why(tmp_path, caplog, damage, message):
    partial = killed(tmp_path / "f.h5", at=4)
    if damage == "not_hdf5":
        partial.write_bytes(b"torn")

    first = write(tmp_path / "f.h5", made_by={**MADE_BY, "seed": "1"} if damage == "other_seed" else MADE_BY)

    assert first == 0
    assert message in caplog.text


def test_a_second_writer_of_one_store_is_refused_by_host_and_process(tmp_path):
    partial = killed(tmp_path / "f.h5", at=2)

    with locked(partial.with_name(f"{partial.name}.lock"), "writes this store"):
        done = started(path=tmp_path / "f.h5", die_at=-1)

    assert "BusyFolderError" in done.stderr
    assert f"another process writes this store: host {socket.gethostname()} process {os.getpid()}" in done.stderr


def test_a_limit_of_the_size_of_files_is_named_before_anything_is_written(tmp_path):
    program = IN_A_PROCESS.format(folder=str(Path(__file__).parent))
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n{program}"
    command = [sys.executable, "-c", limited, str(tmp_path / "f.h5"), "-1"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "this shell limits files to 0.00 GB. Fix: ulimit -f unlimited" in done.stderr
