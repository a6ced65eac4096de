"""NP, HV and NT maps of a tile -> nuclei with their classes."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, Literal, NamedTuple, get_args

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Integer, UInt8
from scipy import ndimage
from skimage.segmentation import watershed

from cellvit.errors import ContractError, SettingsError
from cellvit.hover.relabel import relabel
from cellvit.taxonomy import NucleusClass

Method = Literal["hovernet"]
"""Ways from maps to nuclei: HoVer-Net's published post-processing."""

_LARGEST_SOBEL_PX: Final = 31
"""OpenCV computes Sobel kernels up to this size."""

_SMOOTHING_PX: Final = 3
"""Side of the Gaussian that smooths the flooded landscape (HoVer-Net's program)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HoverNetWatershed:
    """Parameters of HoVer-Net's watershed; the defaults are the published ones.

    Attributes:
        np_threshold: Nuclear probability, 0..1, from which a pixel is nuclear. Higher: fewer and smaller nuclei.
        hv_threshold: Border energy, 0..1 after scaling to the tile's range, from which a nuclear pixel is no marker.
            Lower: smaller markers, more of touching nuclei apart and more small nuclei lost.
        min_object_px: Area in pixels under which a connected piece of the nuclear mask is dropped.
        min_marker_px: Area in pixels under which a marker is dropped, and with it the nucleus it would seed.
        sobel_px: Side of the Sobel kernel in pixels, odd, 3 to 31. Larger: smoother, fewer false borders in noisy
            maps, weaker borders between small nuclei.
        opening_px: Diameter in pixels of the ellipse that opens the markers; 1 leaves them as they are. Larger: cuts
            wider bridges between markers and drops smaller ones.

    Raises:
        SettingsError: A parameter is out of its limits.
    """

    np_threshold: float = 0.5
    hv_threshold: float = 0.4
    min_object_px: int = 10
    min_marker_px: int = 10
    sobel_px: int = 21
    opening_px: int = 5

    def __post_init__(self) -> None:
        limits = {
            "np_threshold": (0 <= self.np_threshold <= 1, "from 0 to 1"),
            "hv_threshold": (0 <= self.hv_threshold <= 1, "from 0 to 1"),
            "min_object_px": (self.min_object_px >= 0, "0 or more"),
            "min_marker_px": (self.min_marker_px >= 0, "0 or more"),
            "sobel_px": (
                3 <= self.sobel_px <= _LARGEST_SOBEL_PX and self.sobel_px % 2 == 1,
                f"odd, from 3 to {_LARGEST_SOBEL_PX}",
            ),
            "opening_px": (self.opening_px >= 1, "1 or more"),
        }
        for name, (holds, expected) in limits.items():
            if not holds:
                raise SettingsError(f"watershed parameter {name} must be {expected}, found {getattr(self, name)}.")


def segment(
    np_prob: Float[np.ndarray, "h w"],
    hv: Float[np.ndarray, "2 h w"],
    *,
    method: Method = "hovernet",
    **parameters: float,
) -> Int32[np.ndarray, "h w"]:
    """Nuclei of one tile: labels 1..n without gaps, 0 is background.

    ``hovernet`` is the post-processing of Graham et al. 2019 (arXiv 1812.06499, section III-B) with `parameters` of
    `HoverNetWatershed`: inside the nuclear mask, pixels where the horizontal and vertical maps rise smoothly seed a
    watershed, which meets where the maps jump from one nucleus to the next. A mask piece without a seed is dropped;
    where HV is constant over the tile there is no seed, and so no nucleus.

    Args:
        np_prob: Probability of nucleus, 0..1.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.

    Raises:
        SettingsError: Unknown method or parameter, or a parameter out of its limits.
        ContractError: The maps differ in size or are not finite.
    """
    if method not in get_args(Method):
        raise SettingsError(f"unknown watershed method {method!r}; there is: {', '.join(get_args(Method))}.")
    ((_, labels),) = segment_grid(np_prob, hv, [_parameters(parameters)])
    return labels


def segment_grid(
    np_prob: Float[np.ndarray, "h w"], hv: Float[np.ndarray, "2 h w"], grid: Sequence[HoverNetWatershed]
) -> Iterator[tuple[HoverNetWatershed, Int32[np.ndarray, "h w"]]]:
    """Yield what `segment` finds with each set of parameters; steps that sets have in common run once.

    Raises:
        ContractError: The maps differ in size or are not finite.
    """
    _check_maps(np_prob, hv)
    np_prob, hv = np_prob.astype(np.float32), hv.astype(np.float32)

    @cache
    def energy(sobel_px: int) -> Float32[np.ndarray, "h w"]:
        return border_energy(hv, sobel_px)

    @cache
    def mask(threshold: float, min_px: int) -> Bool[np.ndarray, "h w"]:
        return _large_pieces(np_prob >= threshold, min_px) > 0

    @cache
    def landscape(sobel_px: int, threshold: float, min_px: int) -> Float64[np.ndarray, "h w"]:
        return _landscape(energy(sobel_px), mask(threshold, min_px))

    for chosen in grid:
        nuclear = mask(chosen.np_threshold, chosen.min_object_px)
        markers = _markers(energy(chosen.sobel_px), nuclear, chosen)
        basins = landscape(chosen.sobel_px, chosen.np_threshold, chosen.min_object_px)
        yield chosen, relabel(watershed(basins, markers=markers, mask=nuclear))


class TypedNuclei(NamedTuple):
    """Classes of the nuclei of one tile; entry i belongs to label i + 1.

    Attributes:
        classes: Nuclear `NucleusClass`, never background.
        probability: Mean over the nucleus's pixels of the NT probability of that class, 0..1.
    """

    classes: UInt8[np.ndarray, " n"]
    probability: Float32[np.ndarray, " n"]


def classify(instances: Integer[np.ndarray, "h w"], nt_prob: Float[np.ndarray, "6 h w"]) -> TypedNuclei:
    """Give each nucleus the nuclear class that most of its pixels have.

    A pixel votes for its most probable class. Votes for background do not count; a tie, and a nucleus with no other
    vote, go to the nuclear class of the highest mean probability.

    Args:
        instances: Labels 1..n without gaps, as `segment` gives them.
        nt_prob: Probability of each `NucleusClass`, background first, summing to 1 over the classes.

    Raises:
        ContractError: The maps do not fit, `nt_prob` is not finite, or labels have gaps.
    """
    _check_types(instances, nt_prob)
    n_classes, n_nuclei = len(nt_prob), int(instances.max(initial=0))
    inside = instances > 0
    nucleus, probability = instances[inside] - 1, nt_prob[:, inside]

    slots = nucleus * n_classes + np.arange(n_classes)[:, None]  # (6, p): one slot a nucleus and class
    sums = np.bincount(slots.ravel(), probability.ravel(), n_nuclei * n_classes).reshape(n_nuclei, n_classes)
    votes = np.bincount(nucleus * n_classes + probability.argmax(axis=0), minlength=sums.size).reshape(sums.shape)
    area_px = votes.sum(axis=1, keepdims=True)
    if not area_px.all():
        raise ContractError(
            f"instance labels must be 1..{n_nuclei} without gaps, found no pixel of label {int(area_px.argmin()) + 1}. "
            "Relabel with cellvit.hover.relabel.relabel."
        )

    mean = sums / area_px
    score = votes + mean / 2  # the mean adds less than a vote: it decides ties alone
    score[:, NucleusClass.BACKGROUND] = -1
    classes = score.argmax(axis=1)
    return TypedNuclei(classes.astype(np.uint8), mean[np.arange(n_nuclei), classes].astype(np.float32))


def class_map(instances: Integer[np.ndarray, "h w"], classes: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, "h w"]:
    """Class of each pixel: that of its nucleus (``classes[i]`` is of label ``i + 1``), 0 on background.

    Examples:
        >>> class_map(np.array([[0, 2, 1]]), np.array([5, 3], np.uint8))
        array([[0, 3, 5]], dtype=uint8)
    """
    lookup = np.zeros(len(classes) + 1, np.uint8)
    lookup[1:] = classes
    pixels: UInt8[np.ndarray, "h w"] = lookup[instances]
    return pixels


def border_energy(hv: Float32[np.ndarray, "2 h w"], sobel_px: int) -> Float32[np.ndarray, "h w"]:
    """How much each pixel looks like the border between two nuclei, in 0..1.

    Along a nucleus both maps rise from -1 to 1; from one nucleus to the next they fall back. The energy is high
    where the derivative of either map along its own axis is low against the rest of the tile.
    """
    horizontal, vertical = (_unit_range(plane) for plane in hv)
    across = 1 - _unit_range(cv2.Sobel(horizontal, cv2.CV_64F, 1, 0, ksize=sobel_px))
    along = 1 - _unit_range(cv2.Sobel(vertical, cv2.CV_64F, 0, 1, ksize=sobel_px))
    energy: Float32[np.ndarray, "h w"] = np.maximum(across, along)
    return energy


def _parameters(given: dict[str, float]) -> HoverNetWatershed:
    allowed = [field.name for field in dataclasses.fields(HoverNetWatershed)]
    if unknown := sorted(set(given) - set(allowed)):
        raise SettingsError(f"unknown watershed parameters {', '.join(unknown)}; there are: {', '.join(allowed)}.")
    return HoverNetWatershed(**given)  # type: ignore[arg-type]  # names are checked, values by the class


def _check_maps(np_prob: Float[np.ndarray, "h w"], hv: Float[np.ndarray, "2 h w"]) -> None:
    if np_prob.ndim != 2 or hv.shape != (2, *np_prob.shape):
        raise ContractError(
            f"maps of a tile must be np_prob (h, w) and hv (2, h, w), found {np_prob.shape} and {hv.shape}. "
            "Give one tile at a time, channels first."
        )
    _check_finite("np_prob", np_prob)
    _check_finite("hv", hv)


def _check_types(instances: Integer[np.ndarray, "h w"], nt_prob: Float[np.ndarray, "6 h w"]) -> None:
    if nt_prob.shape != (len(NucleusClass), *instances.shape):
        raise ContractError(
            f"NT probabilities must be ({len(NucleusClass)}, h, w) over instances (h, w), background first, "
            f"found {nt_prob.shape} over {instances.shape}. Give one tile at a time, channels first."
        )
    _check_finite("nt_prob", nt_prob)


def _check_finite(name: str, values: Float[np.ndarray, "..."]) -> None:
    if n_wrong := values.size - np.count_nonzero(np.isfinite(values)):
        raise ContractError(
            f"{name} must be finite, found {n_wrong} of {values.size} values that are not. "
            "The decoder that made it has diverged: train it again with a lower learning rate."
        )


def _unit_range(plane: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Scale to 0..1 by smallest and largest value; a constant plane becomes 0."""
    scaled: Float32[np.ndarray, "h w"] = cv2.normalize(plane, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
    return scaled


def _large_pieces(mask: Bool[np.ndarray, "h w"], min_px: int) -> Int32[np.ndarray, "h w"]:
    """Label the 4-connected pieces of a mask and clear those under `min_px` pixels; labels may have gaps."""
    pieces, n_pieces = ndimage.label(mask)
    small = np.bincount(pieces.ravel(), minlength=n_pieces + 1) < min_px
    pieces[small[pieces]] = 0
    labels: Int32[np.ndarray, "h w"] = pieces
    return labels


def _landscape(energy: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    """Basins to flood: lowest where a nuclear pixel is least like a border, 0 outside the mask."""
    depth = (1.0 - energy.astype(np.float64)) * mask
    basins: Float64[np.ndarray, "h w"] = -cv2.GaussianBlur(depth, (_SMOOTHING_PX, _SMOOTHING_PX), 0)
    return basins


def _markers(
    energy: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], chosen: HoverNetWatershed
) -> Int32[np.ndarray, "h w"]:
    """Inner parts of nuclei, one label each."""
    inner: UInt8[np.ndarray, "h w"] = ndimage.binary_fill_holes(mask & (energy < chosen.hv_threshold)).astype(np.uint8)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (chosen.opening_px, chosen.opening_px))
    return _large_pieces(cv2.morphologyEx(inner, cv2.MORPH_OPEN, ellipse) > 0, chosen.min_marker_px)
