import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pretend_gpus import first_line

from cellvit.errors import SettingsError
from cellvit.workflow.gpu.locks import holder_of, try_hold

HOLD_ONE = """\
import sys
from pathlib import Path
from cellvit.workflow.gpu.locks import try_hold

print(try_hold(Path(sys.argv[1]), "GPU-a", "train_hovernet"), flush=True)
sys.stdin.read()
"""
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def held_elsewhere(folder: Path) -> bool:
    """What a new process finds when it tries to hold the lock."""
    program = "import sys; from pathlib import Path; from cellvit.workflow.gpu.locks import try_hold; "
    program += "sys.exit(not try_hold(Path(sys.argv[1]), 'GPU-a', 'tune_watershed'))"
    return subprocess.run([sys.executable, "-c", program, folder], check=False).returncode != 0


def test_one_process_holds_a_lock_and_says_who_it_is(folder: Path, started) -> None:
    holder = started(HOLD_ONE, dict(os.environ), folder)
    assert first_line(holder) == "True"

    assert held_elsewhere(folder)
    assert holder_of(folder, "GPU-a").startswith(f"pid {holder.pid}, train_hovernet, since 20")
    assert holder_of(folder, "GPU-b") is None


def test_the_lock_of_a_process_that_is_killed_is_free(folder: Path, started) -> None:
    holder = started(HOLD_ONE, dict(os.environ), folder)
    first_line(holder)

    holder.kill()
    holder.wait()

    assert holder_of(folder, "GPU-a") is None
    assert not held_elsewhere(folder)


def test_to_ask_who_holds_a_lock_takes_it_from_nobody(folder: Path, started) -> None:
    holder = started(HOLD_ONE, dict(os.environ), folder)
    first_line(holder)

    for _ in range(3):
        holder_of(folder, "GPU-a")

    assert held_elsewhere(folder)


def test_what_a_stranger_writes_into_a_lock_file_is_not_repeated(folder: Path, started) -> None:
    holder = started(HOLD_ONE, dict(os.environ), folder)
    first_line(holder)
    program = "import sys; open(sys.argv[1], 'r+').write('pid 1, all is well\\n12:00:00 ERROR rm -rf')"
    subprocess.run([sys.executable, "-c", program, folder / "GPU-a"], check=True)

    assert holder_of(folder, "GPU-a") == "a process that did not say its name"


def test_cleaners_that_heed_locks_leave_the_folder_alone_while_a_lock_is_held(folder: Path, started) -> None:
    holder = started(HOLD_ONE, dict(os.environ), folder)
    first_line(holder)
    directory = os.open(folder, os.O_RDONLY)

    with pytest.raises(BlockingIOError):
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.communicate("")
    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)

    os.close(directory)


def test_no_lock_is_taken_in_a_folder_that_is_being_cleaned(folder: Path) -> None:
    folder.mkdir()
    directory = os.open(folder, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)

    held = held_elsewhere(folder)

    os.close(directory)
    assert held
    assert not held_elsewhere(folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder below one that every user may enter; pytest's own are for one user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "locks"


def test_all_users_share_folder_and_files_whatever_the_umask(open_folder: Path) -> None:
    program = f"import os; os.umask(0o077)\n{HOLD_ONE}"
    subprocess.run([sys.executable, "-c", program, open_folder], stdin=subprocess.DEVNULL, check=True)

    assert stat.S_IMODE(open_folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((open_folder / "GPU-a").stat().st_mode) == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_holds_a_lock_whose_file_is_not_his(open_folder: Path, started) -> None:
    holder = started(HOLD_ONE, dict(os.environ), open_folder)
    first_line(holder)
    assert as_nobody(open_folder) == "held"

    holder.communicate("")

    assert as_nobody(open_folder) == "mine"
    assert (open_folder / "GPU-a").stat().st_uid == 0


def as_nobody(folder: Path) -> str:
    """What a process of another user finds; it forks, since this python may lie where that user cannot read."""
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        try:
            os._exit(0 if try_hold(folder, "GPU-a", "train_hovernet") else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    return ("mine", "held", "error")[os.waitstatus_to_exitcode(status)]


def test_a_link_in_place_of_a_lock_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("do not touch")
    folder.mkdir()
    (folder / "GPU-a").symlink_to(letter)

    with pytest.raises(SettingsError, match="name another one in CELLVIT_GPU_LOCKS"):
        try_hold(folder, "GPU-a", "train_hovernet")

    assert letter.read_text() == "do not touch"


def test_a_second_name_of_a_file_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("do not touch")
    folder.mkdir()
    (folder / "GPU-a").hardlink_to(letter)

    with pytest.raises(SettingsError, match="second name"):
        try_hold(folder, "GPU-a", "train_hovernet")

    assert letter.read_text() == "do not touch"


def test_a_pipe_in_place_of_a_lock_file_is_an_error_and_no_endless_wait(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "GPU-a")

    with pytest.raises(SettingsError, match="no plain file"):
        try_hold(folder, "GPU-a", "train_hovernet")
    assert holder_of(folder, "GPU-a") is None


def test_a_link_in_place_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    folder.symlink_to(tmp_path / "home")

    with pytest.raises(SettingsError, match="Mend or remove it"):
        try_hold(folder, "GPU-a", "train_hovernet")

    assert list((tmp_path / "home").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CELLVIT_GPU_LOCKS"):
        try_hold(tmp_path / "none" / "locks", "GPU-a", "train_hovernet")
