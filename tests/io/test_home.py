"""Results that were moved are known as such until they are accepted."""

import os
from pathlib import Path

from cellvit.io.home import level_times, moved_from, settle


def test_results_are_at_home_until_they_move_and_again_once_they_are_accepted(tmp_path: Path) -> None:
    results = tmp_path / "results"
    fresh = moved_from(results)
    settle(results)
    at_home = moved_from(results)

    moved = results.rename(tmp_path / "elsewhere")
    away = moved_from(moved)
    settle(moved)

    assert (fresh, at_home, away) == (None, None, results)
    assert moved_from(moved) is None


def test_the_folder_above_may_be_reached_by_another_name(tmp_path: Path) -> None:
    settle(tmp_path / "disk" / "results")
    (tmp_path / "link").symlink_to(tmp_path / "disk")

    assert moved_from(tmp_path / "link" / "results") is None


def test_levelled_files_are_all_of_one_time(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for number, name in enumerate(("a/old", "a/b/new"), 1):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))

    level_times(tmp_path)

    assert len({path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}) == 1
