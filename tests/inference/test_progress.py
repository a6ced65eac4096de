import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from cellvit.inference.progress import Progress, reported

LINE = re.compile(r"judged system=oracle tiles=(\d+) of=400 tiles_per_s=[\d.e+]+ left=\d+:\d\d:\d\d")

BAR = """
from cellvit.inference.progress import reported
for _ in reported([[1, 2]] * 3, "judged system=oracle", 6): pass
"""


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level("INFO")
    return lambda: [record.message for record in caplog.records]


def test_a_loop_says_about_ten_times_how_much_is_done_how_fast_and_what_is_left(said: Callable[[], list[str]]) -> None:
    for _ in reported([range(16)] * 25, "judged system=oracle", 400):
        pass

    counts = [int(LINE.fullmatch(line)[1]) for line in said()]
    assert len(counts) == 10
    assert counts == sorted(counts)
    assert said()[-1].startswith("judged system=oracle tiles=400 of=400 ")
    assert said()[-1].endswith(" left=0:00:00")


def test_an_item_counts_when_the_next_is_asked_for(said: Callable[[], list[str]]) -> None:
    items = reported(["a", "b"], "drawn", 2, unit="galleries", size=lambda _: 1)

    first = next(items)
    before = said()
    second = next(items)

    assert (first, second) == ("a", "b")
    assert before == []
    assert said()[0].startswith("drawn galleries=1 of=2 galleries_per_s=")


def test_a_slow_loop_speaks_before_its_next_tenth(said: Callable[[], list[str]]) -> None:
    with Progress("painted fold=1", 1000, silence_s=0) as progress:
        for _ in range(3):
            progress.add()

    assert [line.split(" of=")[0] for line in said()] == [f"painted fold=1 tiles={done}" for done in (1, 2, 3)]


def test_a_loop_over_nothing_says_nothing(said: Callable[[], list[str]]) -> None:
    assert list(reported([], "judged", 0)) == []
    assert said() == []


def test_a_terminal_shows_a_bar() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    os.set_blocking(ours, False)

    subprocess.run([sys.executable, "-c", BAR], stderr=theirs, check=True, timeout=60)
    shown = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)

    assert re.search(r"judged system=oracle: +\d+%", shown)
    assert "/6 [" in shown
