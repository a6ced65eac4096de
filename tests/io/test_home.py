"""Results that were moved are known as such until they are accepted."""

from pathlib import Path

from cellvit.io.home import moved_from, settle


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
