import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from cellvit.inference.progress import progress, reported

LINE = re.compile(r"scored system=decoder tiles=(\d+) of=400 tiles_per_s=[\d.e+]+ left=\d+:\d\d:\d\d")

BAR = """
from cellvit.inference.progress import reported
for _ in reported([[1, 2]] * 3, "scored system=decoder", 6): pass
"""


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level("INFO")
    return lambda: [record.message for record in caplog.records]


def test_a_loop_logs_count_rate_and_remaining_time_about_ten_times(logged: Callable[[], list[str]]) -> None:
    for _ in reported([range(16)] * 25, "scored system=decoder", 400):
        pass

    counts = [int(LINE.fullmatch(line)[1]) for line in logged()]
    assert len(counts) == 10
    assert counts == sorted(counts)
    assert logged()[-1].startswith("scored system=decoder tiles=400 of=400 ")
    assert logged()[-1].endswith(" left=0:00:00")


def test_an_item_is_counted_when_the_next_is_asked_for(logged: Callable[[], list[str]]) -> None:
    items = reported(["a", "b"], "checked", 2, unit="files", size=lambda _: 1)

    first = next(items)
    before = logged()
    second = next(items)

    assert (first, second) == ("a", "b")
    assert before == []
    assert logged()[0].startswith("checked files=1 of=2 files_per_s=")


def test_a_slow_loop_logs_before_its_next_tenth(logged: Callable[[], list[str]]) -> None:
    with progress("simulated fold=1", 1000, silence_s=0) as add:
        for _ in range(3):
            add(1)

    assert [line.split(" of=")[0] for line in logged()] == [f"simulated fold=1 tiles={done}" for done in (1, 2, 3)]


def test_an_empty_loop_logs_nothing(logged: Callable[[], list[str]]) -> None:
    assert list(reported([], "scored", 0)) == []
    assert logged() == []


def test_a_terminal_shows_a_bar() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    os.set_blocking(ours, False)

    subprocess.run([sys.executable, "-c", BAR], stderr=theirs, check=True, timeout=60)
    shown = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)

    assert re.search(r"scored system=decoder: +\d+%", shown)
    assert "/6 [" in shown
