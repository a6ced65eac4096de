"""A small bundle, drawn images, and the command `cellvit predict` on them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from predictions import write_png
from small_bundle import discs, write_small_bundle

from cellvit.__main__ import main

Predict = Callable[..., int]


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the bundle."""
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "discs")


@pytest.fixture
def write_discs(tmp_path: Path) -> Callable[..., Path]:
    """Write a PNG of drawn discs."""

    def write(height: int, width: int, *, name: str = "discs", seed: int = 0) -> Path:
        return write_png(tmp_path / f"{name}.png", discs(height, width, seed)[0])

    return write


@pytest.fixture
def predict(small_bundle: Path) -> Predict:
    """Run the command on images of 0.25 um per pixel, on the CPU; its exit code."""

    def run(*images: Path, out: Path, options: tuple[str, ...] = ()) -> int:
        common = ("--model", str(small_bundle), "--out", str(out), "--device", "cpu", "--mpp", "0.25")
        threads = () if "--threads" in options else ("--threads", "1")
        return main(["predict", *map(str, images), *common, *threads, *options])

    return run
