import base64
import io

import numpy as np
from PIL import Image

from cellvit.evaluation.images import (
    LEVELS,
    class_map_png,
    class_palette,
    colour_mapped_png,
    overlay_png,
)
from cellvit.formats.dataset import PANNUKE
from cellvit.taxonomy import NucleusClass

PALETTE = class_palette(PANNUKE)


def pixels_of(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def square(label: int = 1) -> np.ndarray:
    instances = np.zeros((8, 8), np.int32)
    instances[2:6, 2:6] = label
    return instances


def test_overlay_is_twice_the_size_and_paints_the_rim_in_the_colour_of_the_class() -> None:
    image = np.random.default_rng(0).integers(100, 200, (8, 8, 3), dtype=np.uint8)
    classes = np.where(square() > 0, NucleusClass.DEAD, 0).astype(np.uint8)

    pixels = pixels_of(overlay_png(image, square(), classes, PALETTE))

    assert pixels.shape == (16, 16, 3)
    assert pixels[4, 4].tolist() == PALETTE[NucleusClass.DEAD].tolist()
    assert (np.abs(pixels[7, 7].astype(int) - image[3, 3]) <= 8).all()


def test_colours_outside_contours_stay_close_to_the_tile() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    empty = np.zeros((64, 64), np.int32)

    pixels = pixels_of(overlay_png(image, empty, empty.astype(np.uint8), PALETTE))[::2, ::2]

    assert np.abs(pixels.astype(int) - image).mean() < 25


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({tuple(color) for color in PALETTE.tolist()}) == len(NucleusClass)


def test_class_map_shows_the_palette() -> None:
    classes = np.array([[0, 1], [3, 5]], np.uint8)

    assert pixels_of(class_map_png(classes, PALETTE)).tolist() == PALETTE[classes].tolist()


def test_diverging_map_is_neutral_at_zero_and_grey_where_undefined() -> None:
    values = np.array([[-1.0, 0.0, 1.0, np.nan, 7.0]])

    low, middle, high, undefined, beyond = pixels_of(colour_mapped_png(values, colour_map="RdBu_r", low=-1, high=1))[0]

    assert low[2] > low[0]
    assert high[0] > high[2]
    assert middle.min() > 235
    assert undefined.tolist() == [128, 128, 128]
    assert beyond.tolist() == high.tolist()
    assert LEVELS < 256
