"""A disk that is full, a quota or a limit of the size of files while something is written: the error names the file."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellvit.formats.atomic import replacing

WRITE = """
import sys
from pathlib import Path
from cellvit.formats.atomic import write_text
from cellvit.workflow.failures import failure_of

try:
    write_text(Path(sys.argv[1]), "a" * int(sys.argv[2]))
except Exception as error:
    sys.stderr.write(failure_of(error).message)
    sys.exit(failure_of(error).code)
"""


@pytest.mark.parametrize(
    ("number", "what"), [(errno.ENOSPC, "full disk"), (errno.EDQUOT, "quota"), (errno.EIO, "broken disk")]
)
def test_an_error_of_the_disk_names_the_file_and_leaves_the_earlier_one(tmp_path: Path, number: int, what: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(what)

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of")
            raise OSError(number, os.strerror(number))  # as `write` does, which knows no names

    with pytest.raises(OSError, match=r"a\.json") as caught:
        interrupted()

    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == what


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_file_that_cannot_be_created_is_named_and_not_its_temporary_path(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.json"

    def refused() -> None:
        with replacing(path) as temporary:
            raise OSError(number, os.strerror(number), str(temporary))  # as `open` does on a disk that is read-only

    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        refused()

    assert (caught.value.errno, caught.value.filename) == (number, str(path))


def test_a_limit_of_the_size_of_files_ends_a_writer_with_the_file_by_name_and_a_second_try_succeeds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    command = [sys.executable, "-c", WRITE, str(path), "100000"]

    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "_", *command], capture_output=True, text=True, check=False
    )
    nothing = list(tmp_path.iterdir())
    free = subprocess.run(command, capture_output=True, text=True, check=False)

    assert limited.returncode == 6, limited.stderr
    assert limited.stderr.startswith(f"error: {path}: File too large. Fix: raise the limit")
    assert nothing == []
    assert free.returncode == 0
    assert path.stat().st_size == 100_000
