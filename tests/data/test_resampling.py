"""Images at another resolution: a model must be trained on the pixels that it sees later."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellvit.data.cutting import cut_image, starts
from cellvit.data.resampling import resampled_image
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide

MODEL_MPP = 0.25


@pytest.mark.parametrize("mpp", [0.17, 0.2, 0.35, 0.5])
def test_tiles_of_own_data_have_the_pixels_that_a_prediction_of_the_image_sees(tmp_path: Path, mpp: float) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (60, 50, 3), np.uint8))
    pixels = np.asarray(small.resize((1000, 1200), Image.Resampling.BICUBIC))
    Image.fromarray(pixels).save(tmp_path / "image.png")
    nothing = np.zeros(pixels.shape[:2], np.int32)

    cut = cut_image(pixels, nothing, nothing.astype(np.uint8), mpp=mpp, model_mpp=MODEL_MPP)

    with closing(open_slide(tmp_path / "image.png", mpp=mpp)) as slide:
        seen = ModelPixels(slide, MODEL_MPP)
        places = [(x, y) for y in starts(seen.height) for x in starts(seen.width)]
        for tile, (x, y) in zip(cut.tiles, places, strict=True):
            difference = np.abs(tile.image.astype(int) - seen.read(x, y, 256, 256))
            assert difference.max() <= 2  # a prediction resamples blocks, whose places are rounded in single precision
            assert (difference == 0).mean() > 0.98


def test_a_plane_stays_a_plane_and_keeps_its_places() -> None:
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)

    half, double = resampled_image(ramp, 2.0), resampled_image(ramp, 0.5)

    assert half.shape == (20, 50, 3)
    assert double.shape == (80, 200, 3)
    assert half[5, 5:45, 0].tolist() == [4 * x + 1 for x in range(5, 45)]  # between the two pixels that it covers
    assert np.abs(double[5, 10:190, 0] - (np.arange(10, 190) - 0.5)).max() <= 0.5
