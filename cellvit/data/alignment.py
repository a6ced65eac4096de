"""Annotation that does not lie on nuclei: masks that are shifted, mirrored or transposed, or belong to another image.

Nuclei take up hematoxylin. The contrast of a tile is the probability that a random pixel inside the annotated nuclei has
more hematoxylin than one of the ring around them: 1 is perfect, 0.5 is chance. It does not depend on the strength of
the stain. benchmarks/annotation_checks.py measures how often the limit is right.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from skimage.color import rgb2hed

from cellvit.data.findings import Finding

LIMIT: Final = 0.69
"""Contrast below which annotation does not lie on nuclei. On half of the patients of the real tiles, tiles as they are have
at least 0.71, and displaced ones at most 0.66 (benchmarks/annotation_checks.py)."""

MANY: Final = 0.5
"""Share of failing tiles from which the data set is refused (decision): a systematic fault concerns nearly all."""

_FEWEST_TILES: Final = 5
"""So many tiles are judged before a data set is refused."""

_RING_UM: Final = 2.0
_SMOOTHING_UM: Final = 0.375
"""Width of the ring, and standard deviation of the smoothing that removes texture of chromatin and noise of the sensor."""

_FEWEST_NUCLEI: Final = 5
_FEWEST_UM2: Final = 31.0
"""Nuclei, and area inside them and in the ring (500 px at 0.25 um per pixel), from which a tile is judged."""

_DIM: Final = 0.003
"""Standard deviation of hematoxylin (as of skimage) below which a tile is too pale; half of the least of the real tiles."""

_FARTHEST_UM: Final = 16.0
"""Largest displacement that is looked for."""


class Annotated(NamedTuple):
    """A tile with its annotation.

    Attributes:
        annotated: False where nothing counts.
    """

    image: UInt8[np.ndarray, "h w 3"]
    instances: Int32[np.ndarray, "h w"]
    annotated: Bool[np.ndarray, "h w"]


def nuclear_contrast(tile: Annotated, *, mpp: float) -> float:
    """Contrast of hematoxylin inside nuclei against the ring around them, 0..1; NaN where it cannot be judged.

    Not judged are tiles with few nuclei or a pale stain.
    """
    return _contrast(_hematoxylin(tile.image, mpp), tile.instances, tile.annotated, mpp=mpp)


def alignment_findings(contrasts: Mapping[str, float], *, cause: str = "") -> tuple[Finding, ...]:
    """Findings about a data set from the contrast of each tile by its name.

    Args:
        cause: What `likely_cause` says about the tiles that fail.
    """
    judged = {name: value for name, value in contrasts.items() if not np.isnan(value)}
    failing = sorted((name for name, value in judged.items() if value < LIMIT), key=lambda name: (judged[name], name))
    if not failing:
        return ()
    many = len(judged) >= _FEWEST_TILES and len(failing) >= MANY * len(judged)
    message = (
        f"The annotation of {len(failing)} of {len(judged)} tiles does not lie on nuclei: hematoxylin inside against around "
        f"nuclei has a contrast of {judged[failing[0]]:.2f} in the worst, and {LIMIT:g} or more is expected. "
        f"{cause or 'The masks may be shifted, mirrored or transposed, or belong to other images.'} "
        "Fix: look at these tiles with their contours (cellvit show), and correct the export, or leave the images out."
    )
    return (Finding("misplaced_annotation", message, tuple(failing), stops=many),)


def likely_cause(tiles: Iterable[Annotated], *, mpp: float) -> str:
    """A sentence on how the annotation of most of these tiles is displaced; empty if no displacement explains it."""
    causes = Counter(_cause(tile, mpp=mpp) for tile in tiles)
    cause, n = causes.most_common(1)[0] if causes else ("", 0)
    return f"The masks seem to be {cause}." if cause and n * 2 > causes.total() else ""


def _hematoxylin(image: UInt8[np.ndarray, "h w 3"], mpp: float) -> Float32[np.ndarray, "h w"]:
    density = rgb2hed(image)[..., 0].astype(np.float32)
    smoothed: Float32[np.ndarray, "h w"] = cv2.GaussianBlur(density, (0, 0), _SMOOTHING_UM / mpp)
    return smoothed


def _contrast(
    density: Float32[np.ndarray, "h w"],
    instances: Int32[np.ndarray, "h w"],
    annotated: Bool[np.ndarray, "h w"],
    *,
    mpp: float,
) -> float:
    inside = (instances > 0) & annotated
    radius = max(1, round(_RING_UM / mpp))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    near = cv2.dilate(inside.astype(np.uint8), disk).astype(bool) & annotated
    within, around = density[inside], density[near & ~inside]
    if min(len(within), len(around)) * mpp**2 < _FEWEST_UM2 or len(np.unique(instances[inside])) < _FEWEST_NUCLEI:
        return float("nan")
    if density[near].std() < _DIM:
        return float("nan")
    return _higher(within, around)


def _higher(first: Float32[np.ndarray, " n"], second: Float32[np.ndarray, " m"]) -> float:
    """Probability that a random value of the first is above one of the second (Mann and Whitney); ties count half."""
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
    return float(below.sum() / (2 * len(first) * len(second)))


def _cause(tile: Annotated, *, mpp: float) -> str:
    """The displacement that puts the annotation on nuclei best; empty if none does."""
    density = _hematoxylin(tile.image, mpp)
    best, cause = LIMIT, ""
    for name, moved in _moved(density, tile, mpp):
        contrast = _contrast(density, np.ascontiguousarray(moved), np.ones_like(tile.annotated), mpp=mpp)
        if contrast > best:
            best, cause = contrast, name
    return cause


def _moved(
    density: Float32[np.ndarray, "h w"], tile: Annotated, mpp: float
) -> Iterator[tuple[str, Int32[np.ndarray, "h w"]]]:
    """The annotation in every orientation, and shifted to where it fits best."""
    from scipy.signal import fftconvolve  # here, because it takes a second, and few data sets need it

    instances = tile.instances
    for name, turn in _TURNS.items():
        turned = turn(instances)
        if turned.shape == instances.shape:
            yield name, turned
    mask = (instances > 0).astype(np.float32)
    fit = fftconvolve(density - density.mean(), (mask - mask.mean())[::-1, ::-1], mode="full")
    far, (y0, x0) = round(_FARTHEST_UM / mpp), (side - 1 for side in mask.shape)
    nearby = fit[max(0, y0 - far) : y0 + far + 1, max(0, x0 - far) : x0 + far + 1]
    best = np.unravel_index(int(nearby.argmax()), nearby.shape)
    down, right = (int(at) - min(zero, far) for at, zero in zip(best, (y0, x0), strict=True))
    yield _shift_in_words(-down, -right), _shifted(instances, down, right)


def _shift_in_words(down: int, right: int) -> str:
    """Where masks lie that must be moved the other way."""
    parts = [f"{abs(px)} px {way[px < 0]}" for px, way in ((down, ("down", "up")), (right, ("right", "left"))) if px]
    return f"shifted by about {' and '.join(parts)}" if parts else "in place"


def _shifted(instances: Int32[np.ndarray, "h w"], down: int, right: int) -> Int32[np.ndarray, "h w"]:
    moved: Int32[np.ndarray, "h w"] = np.zeros_like(instances)
    (to_y, from_y), (to_x, from_x) = (
        (slice(max(by, 0), side + min(by, 0)), slice(max(-by, 0), side + min(-by, 0)))
        for by, side in zip((down, right), instances.shape, strict=True)
    )
    moved[to_y, to_x] = instances[from_y, from_x]
    return moved


_TURNS: Final[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "mirrored left to right": lambda mask: mask[:, ::-1],
    "mirrored top to bottom": lambda mask: mask[::-1],
    "turned by 180 degrees": lambda mask: mask[::-1, ::-1],
    "transposed (rows and columns exchanged)": lambda mask: mask.T,
    "turned by 90 degrees to the left": lambda mask: np.rot90(mask, -1),
    "turned by 90 degrees to the right": lambda mask: np.rot90(mask),
    "transposed and turned by 180 degrees": lambda mask: mask.T[::-1, ::-1],
}
"""How masks may be displaced, and what puts them right."""
