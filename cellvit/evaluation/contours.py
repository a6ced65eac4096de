"""Contours of nuclei over tissue: their colours and halos, their shapes as SVG paths, and what became of each nucleus.

References:
    WCAG 2.2, relative luminance and contrast ratio (a text has 4.5:1 at least, here also each contour against its halo).
    Okabe and Ito 2008, Color universal design (colours that are distinct without red-green vision).
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, Int, Int64, UInt8
from scipy.ndimage import find_objects

from cellvit.formats.gallery import Contours, Outcome
from cellvit.metrics.overlap import MATCH_IOU
from cellvit.metrics.pannuke import TileScores

LEAST_CONTRAST: Final = 4.5
"""Contrast of every contour against its halo (WCAG, level AA of text)."""

DARK: Final = "#000000"
LIGHT: Final = "#ffffff"
"""Halos. Against one of both, every colour has a contrast of 4.58 at least, the square root of that between them."""

OUTCOMES: Final[Mapping[Outcome, str]] = MappingProxyType(
    {"matched": "#56b4e9", "other_class": "#ffffff", "missed": "#f0e442", "false": "#ff6a00"}
)
"""Colour of what became of a nucleus. The missed are dashed too, and the false dotted, for readers who do not see colours."""

UNKNOWN_CLASS: Final = "#c8c8c8"
"""Colour of nuclei whose class is not known."""

_FLARE: Final = 0.05
"""What WCAG adds to both luminances of a contrast, for the light that a screen reflects."""


def luminance(rgb: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Relative luminance in 0..1 of sRGB colours of 0..255 along the last axis."""
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    found: Float64[np.ndarray, ...] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return found


def contrast(first: np.ndarray, second: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Contrast ratio of two colours (or arrays of them) of 0..255, from 1 to 21."""
    one, other = luminance(first) + _FLARE, luminance(second) + _FLARE
    ratio: Float64[np.ndarray, ...] = np.maximum(one, other) / np.minimum(one, other)
    return ratio


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green and blue of #rrggbb.

    Examples:
        >>> rgb_of("#ff6a00")
        (255, 106, 0)
    """
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def halo_of(color: str) -> str:
    """The halo of a contour: dark, or light around a colour that is itself too dark for that.

    Examples:
        >>> halo_of("#f0e442"), halo_of("#000000")
        ('#000000', '#ffffff')
    """
    enough = contrast(np.array(rgb_of(color)), np.array(rgb_of(DARK))) >= LEAST_CONTRAST
    return DARK if enough else LIGHT


def halos_of(palette: UInt8[np.ndarray, "k 3"]) -> UInt8[np.ndarray, "k 3"]:
    """The halo of each colour of a palette."""
    halos = [rgb_of(halo_of(f"#{bytes(color).hex()}")) for color in palette]
    return np.array(halos, np.uint8).reshape(-1, 3)


def outcomes_of(scores: TileScores) -> tuple[list[Outcome], list[Outcome]]:
    """What became of each true and of each predicted nucleus: matched at an IoU above 0.5, as the published metrics match.

    A nucleus whose true class is not known is matched with any class.
    """
    true: list[Outcome] = ["missed"] * len(scores.table.true_area)
    predicted: list[Outcome] = ["false"] * len(scores.table.predicted_area)
    for row, column, _, iou in zip(*scores.table.pairs, strict=True):
        if iou > MATCH_IOU:
            classes = {int(scores.true_class_of[row]), int(scores.predicted_class_of[column])} - {0}
            true[row] = predicted[column] = "matched" if len(classes) < 2 else "other_class"
    return true, predicted


def contours(
    instances: Int[np.ndarray, "h w"], classes: Int64[np.ndarray, " n"], outcomes: Iterable[Outcome]
) -> tuple[Contours, ...]:
    """Contours of the nuclei 1..n by class and outcome, through the middle of the outermost pixels of each nucleus.

    So touching nuclei have a line each. A nucleus in several pieces has a line around every piece; holes have none.

    Args:
        instances: Labels without gaps; 0 is background.
        classes: Class of each nucleus, and `outcomes` what became of it.
    """
    kinds = zip(classes.tolist(), outcomes, strict=True)
    grouped: dict[tuple[int, Outcome], list[str]] = {}
    for label, (kind, box) in enumerate(zip(kinds, find_objects(instances), strict=True), 1):
        mask = (instances[box] == label).astype(np.uint8)
        grouped.setdefault(kind, []).append("".join(_rings(mask, box[1].start, box[0].start)))
    return tuple(
        Contours(class_number=kind[0], outcome=kind[1], n_nuclei=len(paths), path="".join(paths))
        for kind, paths in sorted(grouped.items())
    )


def _rings(mask: np.ndarray, left: int, top: int) -> Iterator[str]:
    """SVG path of each outer contour of a mask, in whole pixels relative to the point before."""
    rings, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for ring in rings:
        points = ring[:, 0].astype(np.int64) + np.array([left, top])
        steps = np.diff(points, axis=0).ravel().tolist()
        line = f"l{' '.join(map(str, steps))}" if steps else "h0"  # a single pixel is a dot
        yield f"M{points[0][0]} {points[0][1]}{line}z"
