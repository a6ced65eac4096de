"""Every error that reaches the command line is one message and an exit code; the traceback needs --debug."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellvit.errors import BusyFolderError, CellvitError, ContractError, MissingInputError, SettingsError
from cellvit.workflow.failures import FAULT, failure_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("seed: must be a number"), 2),
        (MissingInputError("a.h5: the file does not exist"), 3),
        (ContractError("a.h5: not a store"), 4),
        (BusyFolderError("results: another process"), 5),
        (CellvitError("anything else"), 1),
    ],
)
def test_the_exit_code_names_the_kind_of_the_error(error: CellvitError, code: int) -> None:
    assert failure_of(error) == (f"error: {error}", code)


@pytest.mark.parametrize(
    ("number", "code", "fix"),
    [
        (errno.ENOSPC, 6, "free some space"),
        (errno.EDQUOT, 6, "quota"),
        (errno.EFBIG, 6, "ulimit -f unlimited"),
        (errno.EROFS, 7, "reading only"),
        (errno.EACCES, 7, "permissions"),
        (errno.ENOENT, 3, "correct the name"),
        (errno.EEXIST, 3, "where a folder is expected"),
        (errno.ENAMETOOLONG, 3, "shorter names"),
        (errno.EIO, 8, "the disk cannot be read"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_the_fix(number: int, code: int, fix: str) -> None:
    failure = failure_of(OSError(number, os.strerror(number), "results/tiles/fold1.h5"))

    assert failure.message.startswith(f"error: results/tiles/fold1.h5: {os.strerror(number)}. Fix: ")
    assert fix in failure.message
    assert failure.code == code


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_copy_onto_a_full_disk_names_the_file_that_does_not_fit_and_not_its_source(number: int) -> None:
    error = OSError(number, os.strerror(number), "models/a.safetensors", None, "bundles/a.safetensors")

    assert failure_of(error).message.startswith(f"error: bundles/a.safetensors: {os.strerror(number)}. Fix: ")


def test_notes_of_an_error_are_shown() -> None:
    error = ContractError("tokens are not finite")
    error.add_note("in fold1.h5, rows 0 to 1")

    assert failure_of(error).message == "error: tokens are not finite\n  in fold1.h5, rows 0 to 1"


def test_a_name_in_another_encoding_is_shown_with_its_bytes() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        f"written: slides/{os.fsdecode(bytes([0x4D, 0xFC]))}.png".encode()

    message, code = failure_of(caught.value)

    assert code == 4
    assert r"found b'written: slides/M\xfc.png'. Fix: rename the file or folder" in message


def test_a_fault_of_the_program_says_where_and_how_to_report_it() -> None:
    try:
        {}["nothing"]
    except KeyError as error:
        failure = failure_of(error)

    assert failure.code == FAULT
    assert "this is a fault of cellvit-optimus: KeyError: 'nothing'" in failure.message
    assert f"{__file__}, line " in failure.message
    assert "--debug" in failure.message


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=["plain", "debug"])
def test_a_command_shows_a_traceback_with_debug_alone(tmp_path: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "cellvit", "show", str(tmp_path / "nothing"), *options]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 3
    assert done.stderr.endswith("nothing: the folder does not exist. Fix: correct its name\n")
    assert ("Traceback" in done.stderr) == bool(options)


def test_a_file_that_may_not_grow_ends_a_command_with_the_limit_by_name(tmp_path: Path) -> None:
    command = f"ulimit -f 1; exec {sys.executable} -m cellvit settings --folder {tmp_path}"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert done.returncode == 6, done.stderr
    assert "File too large" in done.stderr
    assert "ulimit -f unlimited" in done.stderr
    assert list(tmp_path.iterdir()) == []
