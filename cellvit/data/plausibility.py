"""Images that show nothing, masks that are not those of single nuclei, and a resolution that cannot be right."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8
from scipy.ndimage import binary_fill_holes
from skimage.measure import label

from cellvit.data.findings import Finding
from cellvit.formats.dataset import NOT_ANNOTATED

DIAMETERS_UM: Final = (3.0, 25.0)
"""Median diameter of the nuclei of a data set (issue 15); patients of the real tiles have medians of 2.9 to 7.9 um, all together 4.3 um."""

_FEWEST_JUDGED: Final = 100
"""Nuclei from which an implausible median stops; fewer may all be of one small kind (a patient of the real tiles has a
median of 2.9 um over 56 nuclei)."""

_USUAL_UM: Final = 6.0
"""Median from which the likely factor of a wrong resolution is taken (middle of those of the real tiles)."""

_ABSURD_UM: Final = 50.0
"""Diameter of a nucleus that no cell has: megakaryocytes, the largest, have 35 um (decision)."""

_SPECK_UM: Final = 1.0
_SPECKS: Final = 0.1
"""Share of whole nuclei below 1 um (12 px at 0.25 um per pixel) from which a data set is warned of; real tiles: 0.01."""

_WHOLE: Final = 0.9
"""A nucleus whose largest part has less of its pixels is in several parts; a few stray pixels are common."""

_SCATTERED: Final = 0.2
"""Share of nuclei of a class in several parts from which masks are not instances; 0.0008 on the real tiles, 1.0 on a fifth
of them made binary. A class with one or two nuclei an image has less (assumed: 0.4)."""

_FEWEST_SCATTERED: Final = 3
"""So many nuclei in several parts are needed for a verdict."""

_FILL: Final = (0, 128)
"""Grey levels that fill the rest of an image of which only a part was copied, or decoded (JPEG)."""

_FEWEST_FILLED: Final = 1 / 8
"""Share of rows or columns that are filled in an image that was cut off, or has a hole or a frame."""

_LIGHT: Final = 200
"""Mean grey level from which a row of one colour may be the background of a slide."""

_BLANK: Final = 230
"""Mean grey level from which an image may be blank, with a channel that is white throughout."""

_HOLLOW: Final = 0.2
"""Holes, as a share of the nuclear pixels, from which masks are outlines; 0.006 at most in a patient of the real tiles."""

_COVERED: Final = 0.1
_FEWEST_COVERED: Final = 10
"""Nuclei that other class channels cover, and their share, from which the channels are copies (decision: channels overlap at
borders of nuclei only)."""

IMAGE_FAULTS: Final[Mapping[str, str]] = {
    "constant_image": "Every pixel of an image has the same colour, or one of its channels has the same value throughout, or "
    "those of another one: the file is empty, its copy was interrupted, or channels were lost.",
    "cut_off_image": "An eighth or more of the rows or columns of an image have one colour throughout: the file was cut off "
    "while it was copied or written, or the image has a hole or a frame.",
}
"""Kinds of broken images, and what they mean."""

_COPY_AGAIN: Final = (
    " Fix: copy or export the images again and compare their checksums with the source, or leave them out. If the rows are "
    "the border of a slide, mark them as not annotated."
)


@dataclass(frozen=True, slots=True)
class Nuclei:
    """The nuclei of one image as the checks need them.

    Attributes:
        diameter_um: Diameter of the disk with the same area.
        whole: False for nuclei that touch the border of the image, or a region that is not annotated.
        largest_part: Share of the pixels that the largest connected part of each nucleus has.
        classes: Class of each nucleus.
        px: Pixels of all nuclei.
        hole_px: Pixels that nuclei enclose, and that are in none.
    """

    diameter_um: Float64[np.ndarray, " n"]
    whole: Bool[np.ndarray, " n"]
    largest_part: Float64[np.ndarray, " n"]
    classes: UInt8[np.ndarray, " n"]
    px: int
    hole_px: int


def image_fault(image: UInt8[np.ndarray, "h w 3"], annotated: Bool[np.ndarray, "h w"] | None = None) -> str:
    """What is wrong with an image, as a key of `IMAGE_FAULTS`; empty if nothing is. Only annotated pixels are judged.

    A white image is constant only if all its pixels are equal: a scanned one never is.
    """
    judged = np.ones(image.shape[:2], bool) if annotated is None else annotated
    pixels = image[judged]
    if len(pixels) and _lacks_channels(pixels):
        return "constant_image"
    rows, columns = _filled(image, judged), _filled(image.swapaxes(0, 1), judged.T)
    return "cut_off_image" if max(rows.mean(), columns.mean()) >= _FEWEST_FILLED else ""


def _lacks_channels(pixels: UInt8[np.ndarray, "p 3"]) -> bool:
    """True if a channel is constant, or a copy of another one; grey images, whose channels are all equal, are legal."""
    constant = (pixels == pixels[0]).all(axis=0)
    copies = sum(bool((pixels[:, a] == pixels[:, b]).all()) for a, b in ((0, 1), (1, 2), (0, 2)))
    return bool(constant.all() or ((constant.any() or copies == 1) and pixels.mean() < _BLANK))


def _filled(image: UInt8[np.ndarray, "h w 3"], judged: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, " h"]:
    """True for rows whose judged pixels have one of the grey levels `_FILL`, or that have one colour which is not light."""
    filled: Bool[np.ndarray, " h"] = (
        (image == image[:, :1]).all(axis=(1, 2)) & judged.all(axis=1) & (image[:, 0].mean(axis=1) < _LIGHT)
    )
    for level in _FILL:
        filled |= ((image == level).all(axis=2) | ~judged).all(axis=1) & judged.any(axis=1)
    return filled


def image_findings(faults: Mapping[str, str]) -> tuple[Finding, ...]:
    """Findings from the fault of each image by its name, as of `image_fault`; each stops."""
    found = []
    for kind, meaning in IMAGE_FAULTS.items():
        places = tuple(name for name, fault in faults.items() if fault == kind)
        if places:
            message = f"{meaning} Images: {len(places)} of {len(faults)}.{_COPY_AGAIN}"
            found.append(Finding(kind, message, places, stops=True))
    return tuple(found)


def measured_nuclei(instances: Int32[np.ndarray, "h w"], classes: UInt8[np.ndarray, "h w"], *, mpp: float) -> Nuclei:
    """Measure the nuclei of an image.

    Args:
        classes: Class of each pixel; `NOT_ANNOTATED` where nothing counts.
        mpp: Micrometres per pixel of the two maps.
    """
    parts = label(instances, connectivity=2)  # of pixels with one value
    labels, first_px = np.unique(instances, return_index=True)
    labels, first_px = labels[labels > 0], first_px[labels > 0]
    n = int(instances.max(initial=0)) + 1
    area_px, largest = np.bincount(instances.ravel(), minlength=n), np.zeros(n, np.int64)
    part_px = np.bincount(parts.ravel())
    of_part = np.zeros(len(part_px), np.int64)
    of_part[parts.ravel()] = instances.ravel()
    np.maximum.at(largest, of_part, part_px)
    at_edge, nuclear = _at_edge(instances, classes), instances > 0
    return Nuclei(
        diameter_um=2 * np.sqrt(area_px[labels] / math.pi) * mpp,
        whole=~np.isin(labels, at_edge),
        largest_part=largest[labels] / area_px[labels],
        classes=classes.ravel()[first_px],
        px=int(nuclear.sum()),
        hole_px=int(binary_fill_holes(nuclear).sum() - nuclear.sum()),
    )


def nuclei_findings(
    images: Mapping[str, Nuclei], class_names: Sequence[str], *, mpp: float | None = None
) -> tuple[Finding, ...]:
    """Findings about the nuclei of a whole data set, by the name of each image; one that explains others is the only one.

    Args:
        class_names: Names by number, background first.
        mpp: Micrometres per pixel that were given, if all images have the same.
    """
    if not any(len(nuclei.classes) for nuclei in images.values()):
        return ()
    return (
        _scattered(images, class_names)
        or _hollow(images)
        or _sizes(images, mpp)
        or (*_absurd(images), *_specks(images))
    )


def overlap_findings(n_nuclei: int, n_lost: int, places: Sequence[str]) -> tuple[Finding, ...]:
    """Class channels that are copies of each other, from the nuclei that are left and those that later channels cover.

    Args:
        places: Names of the tiles with covered nuclei.
    """
    if n_lost < _FEWEST_COVERED or n_lost < _COVERED * (n_nuclei + n_lost):
        return ()
    message = (
        f"{n_lost:,} of {n_nuclei + n_lost:,} nuclei are covered by nuclei of another class channel, and would be lost (less than "
        f"{_COVERED:.0%} is expected). The class channels seem to be copies of each other. Fix: write each nucleus into the "
        "channel of its class alone."
    )
    return (Finding("overlapping_classes", message, tuple(places), stops=True),)


def likely_factor(median_um: float) -> float:
    """Power of two by which the resolution is wrong if the median diameter of nuclei is `median_um`.

    Examples:
        >>> likely_factor(1.5), likely_factor(26.0), likely_factor(6.0)
        (4.0, 0.25, 1.0)
    """
    return float(2.0 ** round(math.log2(_USUAL_UM / median_um)))


def _at_edge(instances: Int32[np.ndarray, "h w"], classes: UInt8[np.ndarray, "h w"]) -> Int32[np.ndarray, " k"]:
    """Labels of nuclei at the border of what is annotated."""
    beyond = np.pad(classes == NOT_ANNOTATED, 1, constant_values=True)
    near = beyond[:-2, 1:-1] | beyond[2:, 1:-1] | beyond[1:-1, :-2] | beyond[1:-1, 2:]
    return np.unique(instances[near])


def _scattered(images: Mapping[str, Nuclei], class_names: Sequence[str]) -> tuple[Finding, ...]:
    """Masks in which one id is used for many nuclei, by class: one class alone may be binary."""
    found = []
    for number, name in enumerate(class_names):
        of_class = {place: one.largest_part[one.classes == number] < _WHOLE for place, one in images.items()}
        in_parts = {place: int(parts.sum()) for place, parts in of_class.items()}
        n, n_parts = sum(map(len, of_class.values())), sum(in_parts.values())
        if n_parts < _FEWEST_SCATTERED or n_parts < _SCATTERED * n:
            continue
        message = (
            f"{n_parts} of {n} nuclei of class {name} are in several separate parts (at most {_SCATTERED:.0%} is accepted). "
            "The masks seem to be binary, one id for all nuclei of an image, and not one id for each nucleus. "
            "Fix: export instance masks. Do not number the connected parts of a binary mask: touching nuclei would become one."
        )
        found.append(Finding("binary_masks", message, _worst_first(in_parts), stops=True))
    return tuple(found)


def _hollow(images: Mapping[str, Nuclei]) -> tuple[Finding, ...]:
    """Masks that are outlines of nuclei, which are not filled."""
    px, hole_px = (sum(of_image) for of_image in zip(*((one.px, one.hole_px) for one in images.values()), strict=True))
    if hole_px < _HOLLOW * px:
        return ()
    message = (
        f"The nuclei enclose holes of {hole_px:,} px, {hole_px / px:.0%} of their own {px:,} px (less than {_HOLLOW:.0%} is "
        "expected). The masks seem to be the outlines of nuclei. Fix: fill the outlines, and export the masks again."
    )
    return (
        Finding("hollow_masks", message, _worst_first({name: one.hole_px for name, one in images.items()}), stops=True),
    )


def _sizes(images: Mapping[str, Nuclei], mpp: float | None) -> tuple[Finding, ...]:
    """A median diameter that shows a wrong resolution, or areas of something else than nuclei."""
    whole = np.concatenate([nuclei.diameter_um[nuclei.whole] for nuclei in images.values()])
    diameters = whole if len(whole) else np.concatenate([nuclei.diameter_um for nuclei in images.values()])
    median, (low, high) = float(np.median(diameters)), DIAMETERS_UM
    if low <= median <= high:
        return ()
    factor = likely_factor(median)
    plausible = f": {mpp:g} was given, {mpp * factor:g} would be plausible" if mpp else ""
    message = (
        f"The median diameter of {len(diameters):,} nuclei is {median:.3g} um; {low:g} to {high:g} um is plausible. The "
        f"micrometres per pixel (mpp) are likely wrong by a factor of {factor:g}{plausible}. With it, the median is "
        f"{median * factor:.3g} um. Fix: correct mpp (about 0.25 at 40x, 0.5 at 20x)."
    )
    return (Finding("resolution", message, (), stops=len(diameters) >= _FEWEST_JUDGED),)


def _absurd(images: Mapping[str, Nuclei]) -> tuple[Finding, ...]:
    largest = {place: float(nuclei.diameter_um.max(initial=0)) for place, nuclei in images.items()}
    places = _worst_first({place: um for place, um in largest.items() if um > _ABSURD_UM})
    if not places:
        return ()
    message = (
        f"Nuclei with a diameter above {_ABSURD_UM:g} um were found, the largest with {max(largest.values()):.0f} um. No nucleus "
        "is so large: these are likely outlines of regions, or several nuclei under one id. Fix: look at these images, and "
        "correct or remove the outlines."
    )
    return (Finding("absurd_size", message, places, stops=False),)


def _specks(images: Mapping[str, Nuclei]) -> tuple[Finding, ...]:
    specks = {place: int(np.count_nonzero(one.whole & (one.diameter_um < _SPECK_UM))) for place, one in images.items()}
    n_whole = sum(int(nuclei.whole.sum()) for nuclei in images.values())
    if not n_whole or sum(specks.values()) < _SPECKS * n_whole:
        return ()
    message = (
        f"{sum(specks.values()):,} of {n_whole:,} whole nuclei have a diameter below {_SPECK_UM:g} um. They are likely stray "
        "pixels of the annotation; each counts as a nucleus that can be missed. Fix: remove them from the annotation."
    )
    return (Finding("specks", message, _worst_first(specks), stops=False),)


def _worst_first(amounts: Mapping[str, float]) -> tuple[str, ...]:
    """Names with an amount above 0, the largest first, then by name."""
    return tuple(sorted((name for name, amount in amounts.items() if amount), key=lambda name: (-amounts[name], name)))
