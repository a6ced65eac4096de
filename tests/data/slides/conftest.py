from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.slides.opening import open_slide
from cellvit.data.slides.slide import Slide


@pytest.fixture
def opened() -> Iterator[Callable[..., Slide]]:
    """Open slides that are closed at the end of the test."""
    slides = []

    def open_(path: Path, mpp: float | None = None) -> Slide:
        slides.append(open_slide(path, mpp=mpp))
        return slides[-1]

    yield open_
    for slide in slides:
        slide.close()


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth colours with noise, 700 x 900 px."""
    rows, columns = np.mgrid[:700, :900]
    smooth = np.stack([rows / 4, columns / 5, (rows + columns) / 8], axis=-1)
    return (smooth + np.random.default_rng(0).integers(0, 40, smooth.shape)).astype(np.uint8)
