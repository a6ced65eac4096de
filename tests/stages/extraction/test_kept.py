"""extract_features computes what changed alone."""

import logging
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from extracting import arguments, extract, in_shards, reused

from cellvit.__main__ import main


def test_tiles_that_changed_are_computed_alone_and_the_result_is_that_of_a_full_extraction(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path, shown = tmp_path / "features" / "fold1.h5", list(range(12))
    extract(write_tiles(shown), path, "--batch-size", "2")
    shown[5] = 77
    changed = write_tiles(shown)
    path.unlink()  # as Snakemake does before the job

    with caplog.at_level(logging.INFO):
        found = extract(changed, path, "--batch-size", "2")

        assert reused(caplog) == 10
        assert found == extract(changed, tmp_path / "full" / "fold1.h5", "--batch-size", "2")
        assert reused(caplog) == 0

    assert path.read_bytes() == (tmp_path / "full" / "fold1.h5").read_bytes()


def test_tiles_added_at_the_end_and_blocks_that_moved_are_found_again(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "features" / "fold1.h5"
    extract(write_tiles(list(range(6))), path, "--batch-size", "2")

    with caplog.at_level(logging.INFO):
        extract(write_tiles([50, 51, *range(6), 52]), path, "--batch-size", "2")

    assert reused(caplog) == 6


def test_kept_features_of_other_settings_are_not_used_and_the_log_says_why(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(4))), tmp_path / "features" / "fold1.h5"
    extract(tiles, path)

    with caplog.at_level(logging.INFO):
        extract(tiles, path, seed=1)

    assert reused(caplog) == 0
    assert "kept features are not used" in caplog.text
    assert "because settings: " in caplog.text


def test_kept_rows_that_were_damaged_are_computed_again(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(6))), tmp_path / "features" / "fold1.h5"
    expected = extract(tiles, path, "--batch-size", "2")
    with h5py.File(path, "r+") as file:  # the kept store is the same file under another name
        file["tokens"][3, 0, 0, 3, 3, :40] = 0

    with caplog.at_level(logging.INFO):
        assert extract(tiles, path, "--batch-size", "2") == expected

    assert reused(caplog) == 4
    assert "rows=2-3" in caplog.text


def test_kept_rows_that_a_disk_changed_are_computed_again(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(6))), tmp_path / "features" / "fold1.h5"
    expected = extract(tiles, path, "--batch-size", "2")
    with h5py.File(path) as file:
        place = file["tokens"].id.get_chunk_info(3).byte_offset
    with path.open("r+b") as disk:  # under HDF5, whose checksum no longer agrees: the row cannot be read
        disk.seek(place)
        disk.write(b"\xff")
    path.unlink()

    with caplog.at_level(logging.INFO):
        assert extract(tiles, path, "--batch-size", "2") == expected

    assert reused(caplog) == 4
    assert "rows=2-3" in caplog.text


def test_features_that_failed_their_check_are_not_taken_over(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, path = write_tiles(list(range(4))), tmp_path / "features" / "fold1.h5"
    extract(tiles, path)
    with h5py.File(path, "r+") as file:
        file["cls"][...] = 9
    check = ["check_features", *arguments(tiles, path)[1:], "--out", str(tmp_path / "check.json")]

    assert main(check) == 1
    with caplog.at_level(logging.INFO):
        extract(tiles, path)

    assert reused(caplog) == 0
    assert main(check) == 0


def test_another_number_of_shards_computes_nothing_anew_and_keeps_nothing_twice(
    tmp_path: Path, write_tiles: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tiles, root = write_tiles(list(range(8))), tmp_path / "features"
    extract(tiles, root / "fold1.h5", "--batch-size", "2")

    with caplog.at_level(logging.INFO):
        in_shards(tiles, root, 2, "--batch-size", "2")

    taken = [record.message for record in caplog.records if "features written" in record.message]
    assert taken == ["features written tiles=4 of which reused=4"] * 2
    assert not (root / ".kept" / "fold1.h5").exists()
    assert sorted(path.name for path in (root / "shards" / ".kept").iterdir()) == ["fold1_1of2.h5", "fold1_2of2.h5"]
