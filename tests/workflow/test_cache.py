"""The result cache on real files: what it serves, what it never serves, and what it costs."""

import os
from pathlib import Path

import pytest

from cellvit.workflow.cache import FOLDER, ResultCache

LARGE = 17 << 20
"""Bytes of a file that is linked and not copied."""


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    found = ResultCache.beside(tmp_path / FOLDER, 1e9, tmp_path / "results" / "any")
    assert found is not None
    return found


def written(tmp_path: Path, name: str, content: bytes = b"result") -> Path:
    path = tmp_path / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_result_that_was_added_is_restored(cache, tmp_path):
    outputs = {"table": written(tmp_path, "a.csv"), "store": written(tmp_path, "a.h5", bytes(LARGE))}
    cache.add("key", outputs)
    for path in outputs.values():
        path.unlink()

    served = cache.restore("key", outputs)

    assert served
    assert outputs["table"].read_bytes() == b"result"
    assert outputs["store"].stat().st_size == LARGE


def test_a_restored_file_is_newer_than_what_it_was_made_from(cache, tmp_path):
    path = written(tmp_path, "a.csv")
    os.utime(path, (1, 1))
    cache.add("key", {"table": path})

    cache.restore("key", {"table": path})

    assert path.stat().st_mtime > 1


def test_a_large_file_takes_no_space_twice_and_a_small_one_keeps_its_own_times(cache, tmp_path):
    small, large = written(tmp_path, "a.csv"), written(tmp_path, "a.h5", bytes(LARGE))
    cache.add("key", {"table": small, "store": large})

    in_cache = tmp_path / FOLDER / "key"

    assert small.stat().st_ino != (in_cache / "table").stat().st_ino
    shares = large.stat().st_ino == (in_cache / "store").stat().st_ino
    assert shares or large.stat().st_blocks  # linked, or cloned where the file system can


@pytest.mark.parametrize("damage", ["changed", "truncated", "lost", "entry_unreadable"])
def test_a_damaged_entry_is_removed_and_never_served(cache, tmp_path, damage):
    path = written(tmp_path, "a.csv")
    cache.add("key", {"table": path})
    entry = tmp_path / FOLDER / "key"
    match damage:
        case "changed":
            (entry / "table").write_bytes(b"resulT")
        case "truncated":
            (entry / "table").write_bytes(b"res")
        case "lost":
            (entry / "table").unlink()
        case "entry_unreadable":
            (entry / "entry.json").write_bytes(b"\x00[")
    path.unlink()

    served = cache.restore("key", {"table": path})

    assert not served
    assert not path.exists()
    assert not entry.exists()


def test_an_entry_without_an_output_that_is_asked_for_is_not_served(cache, tmp_path):
    path = written(tmp_path, "a.csv")
    cache.add("key", {"table": path})

    assert not cache.restore("key", {"table": path, "timing": tmp_path / "results" / "t.json"})


def test_the_least_recently_used_entries_go_first_when_the_limit_is_reached(tmp_path):
    cache = ResultCache(tmp_path / FOLDER, 31_000)
    (tmp_path / FOLDER).mkdir()
    paths = {key: written(tmp_path, key, bytes(10_000)) for key in ("old", "used", "new")}
    for age, key in enumerate(("new", "used", "old")):
        cache.add(key, {"file": paths[key]})
        os.utime(tmp_path / FOLDER / key / "entry.json", (1000 - age, 1000 - age))
    cache.restore("old", {"file": paths["old"]})

    written(tmp_path, "more", bytes(10_000))
    cache.add("more", {"file": tmp_path / "results" / "more"})

    left = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert "used" not in left, "used least recently"
    assert {"old", "more"} <= left


def test_what_results_share_with_the_cache_does_not_count(tmp_path):
    cache = ResultCache(tmp_path / FOLDER, 1000)
    (tmp_path / FOLDER).mkdir()
    large = written(tmp_path, "a.h5", bytes(LARGE))

    cache.add("key", {"store": large})
    if large.stat().st_nlink == 1:
        pytest.skip("this file system clones files, and clones are counted as if they were copies")
    kept = (tmp_path / FOLDER / "key").exists()
    large.unlink()
    cache.trim()

    assert kept
    assert not (tmp_path / FOLDER / "key").exists()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system in /dev/shm")
def test_without_hard_links_the_cache_is_skipped_with_a_message(tmp_path, caplog):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (tmp_path / FOLDER).symlink_to(elsewhere)  # another file system: a link from there fails

        cache = ResultCache.beside(tmp_path / FOLDER, 1e9, tmp_path / "results" / "a.h5")

    assert cache is None
    assert "the result cache is skipped because files cannot be hard-linked" in caplog.text


def test_a_checksum_is_remembered_until_the_file_changes_even_with_its_time_kept(cache, tmp_path):
    path = written(tmp_path, "raw.npy", b"first")
    status = path.stat()
    first = cache.remembered_sha256(path)
    again = cache.remembered_sha256(path)
    path.write_bytes(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    changed = cache.remembered_sha256(path)

    assert first == again != changed
