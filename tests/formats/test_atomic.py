"""Files appear whole or not at all, and together."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cellvit.formats.atomic import remove_unfinished, replacing_together

KILLED_AT_A_CHANGE = """
import os, signal, sys
from pathlib import Path
from cellvit.formats.atomic import replacing_together

count, seen = int(sys.argv[1]), 0

def stop(event, args):
    global seen
    if event in ("os.rename", "os.remove"):
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(stop)
with replacing_together(*map(Path, sys.argv[2:])) as temporaries:
    for temporary in temporaries:
        temporary.write_text("new")
"""


def contents(paths: list[Path]) -> list[str | None]:
    return [path.read_text() if path.exists() else None for path in paths]


@pytest.fixture
def earlier(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("checkpoint", "history", "evaluation")]
    for path in paths:
        path.write_text("old")
    return paths


def test_files_that_are_written_together_all_change(earlier: list[Path]) -> None:
    with replacing_together(*earlier) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")

    assert contents(earlier) == ["new"] * 3
    assert sorted(earlier[0].parent.iterdir()) == sorted(earlier)


def test_a_fault_while_they_are_written_changes_none(earlier: list[Path]) -> None:
    with pytest.raises(OSError, match="full"), replacing_together(*earlier) as temporaries:  # noqa: PT012  # as a stage
        temporaries[0].write_text("new")
        raise OSError("disk is full")

    assert contents(earlier) == ["old"] * 3
    assert sorted(earlier[0].parent.iterdir()) == sorted(earlier)


def test_a_kill_at_any_moment_never_leaves_files_of_two_writings(earlier: list[Path]) -> None:
    found = []
    for count in range(1, 20):
        for path in earlier:
            path.write_text("old")
        done = subprocess.run([sys.executable, "-c", KILLED_AT_A_CHANGE, str(count), *map(str, earlier)], check=False)
        found.append(contents(earlier))
        if done.returncode != -signal.SIGKILL:
            break

    assert found[0] == ["old"] * 3
    assert found[-1] == ["new"] * 3
    assert ["old", None, None] in found
    assert ["new", None, None] in found
    assert all(not {"old", "new"} <= set(state) for state in found)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(earlier: list[Path]) -> None:
    folder = earlier[0].parent
    subprocess.run([sys.executable, "-c", KILLED_AT_A_CHANGE, "1", *map(str, earlier)], check=False)
    left = set(folder.iterdir()) - set(earlier)

    remove_unfinished(earlier[0])

    removed = left - set(folder.iterdir())
    assert len(left) == 3
    assert [path.name.startswith(".checkpoint.") for path in removed] == [True]
    assert contents(earlier) == ["old"] * 3
