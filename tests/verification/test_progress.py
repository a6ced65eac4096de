import logging
from pathlib import Path

import pytest
from cellvit.verification.progress import Reading

GB = 1_000_000_000


def test_a_long_reading_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading(37 * GB)

    with caplog.at_level(logging.INFO):
        for _ in range(370):
            reading.add(GB // 10)
    reading.close()

    assert "read MB=3700 of=37000" in caplog.text
    assert "read MB=37000 of=37000" in caplog.text
    assert "left=" in caplog.text


def test_a_long_file_is_named_before_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "images.npy"
    with path.open("wb") as file:
        file.truncate(12 * GB)  # of holes: it takes no space

    with caplog.at_level(logging.INFO):
        Reading(12 * GB).file(path)

    assert f"reading file={path} MB=12000" in caplog.text


def test_a_short_one_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading(GB // 2)

    with caplog.at_level(logging.INFO):
        reading.add(GB // 2)

    assert caplog.text == ""
