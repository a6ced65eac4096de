"""Files that have their space before they are written, and reach the disk while they are."""

import errno
import logging
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from cellvit.formats.disk import Syncing, reserving

from cellvit.errors import MissingInputError
from cellvit.formats import disk
from cellvit.formats.features import FEATURES
from cellvit.formats.hdf5 import create_columns

N = 64
SIZES = {"views": 1, "taps": 1, "g": 16, "dim": 192}


def laid_out(path: Path) -> Path:
    with reserving(path) as blank, h5py.File(blank, "w") as file:
        create_columns(file, FEATURES, N, SIZES, allocated=True)
    return path


def on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def failing(code: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_every_row_has_its_place_and_reads_as_zero(tmp_path: Path) -> None:
    with h5py.File(laid_out(tmp_path / "reserved.h5")) as file:
        assert file["tokens"].id.get_num_chunks() == N
        for column in FEATURES.column_names:
            data = file[column]
            assert data.chunks or data.id.get_offset() is not None
            assert not data[:].any()  # through the checksums of the chunks


def test_space_is_taken_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = laid_out(tmp_path / "reserved.h5")
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EOPNOTSUPP))
    holes = laid_out(tmp_path / "holes.h5")

    assert on_disk(reserved) >= reserved.stat().st_size
    assert on_disk(holes) < holes.stat().st_size / 10


def test_writing_into_reserved_places_leaves_layout_and_size(tmp_path: Path) -> None:
    path = laid_out(tmp_path / "reserved.h5")
    size = path.stat().st_size
    tokens = np.random.default_rng(0).standard_normal((N, 1, 1, 16, 16, 192), np.float32).astype(np.float16)

    with h5py.File(path, "r+") as file:
        file["tokens"][:] = tokens
        file["input_sha256"][:] = 7

    assert path.stat().st_size == size
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["tokens"][:], tokens)
        assert (file["input_sha256"][:] == 7).all()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_before_the_first_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(code))

    with pytest.raises(MissingInputError, match=r"reserved\.h5: needs 0\.01 GB.*Free some"):
        laid_out(tmp_path / "reserved.h5")

    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EINVAL))

    with caplog.at_level(logging.INFO):
        path = laid_out(tmp_path / "reserved.h5")

    assert "space not reserved" in caplog.text
    with h5py.File(path) as file:
        assert file["tokens"].shape == (N, 1, 1, 16, 16, 192)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Files that were sent to the disk, in order."""
    seen: list[int] = []
    real = os.fsync

    def counted(file: int) -> None:
        seen.append(file)
        real(file)

    monkeypatch.setattr(disk.os, "fsync", counted)
    return seen


def test_a_file_is_sent_to_the_disk_while_it_is_written_and_at_the_end(tmp_path: Path, syncs: list[int]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")

    with Syncing(path, every=100) as syncing:
        syncing.wrote(99)
        assert syncs == []
        syncing.wrote(1)

    assert len(syncs) == 2


def test_after_an_error_of_the_block_nothing_waits_for_the_disk(tmp_path: Path, syncs: list[int]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")

    with pytest.raises(KeyError), Syncing(path):
        raise KeyError

    assert syncs == []


def test_what_the_disk_refuses_is_an_error_at_the_end_at_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    answers = iter([failing(errno.EIO), lambda *_: None])  # Linux tells of a lost page once
    monkeypatch.setattr(disk.os, "fsync", lambda file: next(answers)(file))

    with pytest.raises(OSError, match="Input/output error"), Syncing(path, every=1) as syncing:
        syncing.wrote(1)
