import base64
import io

import numpy as np
from PIL import Image

from cellvit.evaluation.images import (
    LEVELS,
    class_map_png,
    class_palette,
    colour_mapped_png,
    tile_jpeg,
)
from cellvit.formats.dataset import PANNUKE
from cellvit.taxonomy import NucleusClass

PALETTE = class_palette(PANNUKE)


def pixels_of(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_tile_is_shown_as_it_is() -> None:
    rows, columns = np.mgrid[:64, :64]
    image = np.stack([200 + rows // 4, 100 + columns // 2, 180 - rows // 2], axis=2).astype(np.uint8)

    kind, _, content = tile_jpeg(image).partition(",")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))

    assert kind == "data:image/jpeg;base64"
    assert np.abs(shown.astype(int) - image).max() <= 6


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
