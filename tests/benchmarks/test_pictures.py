"""Pictures of the documentation are small."""

import runpy
from pathlib import Path

import numpy as np
from PIL import Image


def test_a_large_noisy_picture_is_written_within_the_limit(repository: Path, tmp_path: Path) -> None:
    program = runpy.run_path(str(repository / "benchmarks" / "pictures.py"))
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).resize((3000, 3000)).save(tmp_path / "noise.png")

    program["write_jpeg"](tmp_path / "noise.png", tmp_path / "images" / "noise.jpg")

    assert (tmp_path / "images" / "noise.jpg").stat().st_size <= program["MAX_BYTES"]
    with Image.open(tmp_path / "images" / "noise.jpg") as written:
        assert written.size == (900, 900)


def test_the_pictures_in_the_repository_are_within_the_limit(repository: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in (repository / "docs" / "images").iterdir()}

    assert {"report.jpg", "overlay.jpg"} <= sizes.keys()
    assert [name for name, size in sizes.items() if size > 150_000] == []
