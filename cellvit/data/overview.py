"""What every image of a user's data set holds, and which images to look at first."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cellvit.data.alignment import LIMIT, Annotated, nuclear_contrast
from cellvit.data.own_data import OwnData
from cellvit.data.own_images import OwnImage, read_own_image
from cellvit.data.own_rules import meaning_of
from cellvit.data.own_survey import OwnChecks, name_of
from cellvit.data.plausibility import IMAGE_FAULTS, Nuclei, image_fault, measured_nuclei
from cellvit.errors import CellvitError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.own_tiles import OwnTile

_DIAMETERS_UM: Final = (2.0, 30.0)
"""Median diameters of one image outside these limits are worth a look. They are wider than those of a whole data set:
images may hold few nuclei, slender or cut ones."""

_MANY: Final = 0.1
"""Share of nuclei that a rule changed or dropped from which on an image is worth a look (decision)."""

_WATCHED: Final = (
    *("outside", "too_small", "degenerate", "covered", "duplicates", "duplicates_of_other_class", "several_classes"),
    *("outside_regions", "class_contradictions"),
)
"""Rules that change or drop nuclei in a way that a mistake in the annotation can cause."""


@dataclass(frozen=True, slots=True)
class ImageOverview:
    """One image in numbers.

    Attributes:
        size_px: Width and height.
        nuclei: Measures of its nuclei; None if it cannot be read.
        n_by_class: Nuclei of each class, in the order of the description.
        contrast: Contrast of hematoxylin inside nuclei against around them; NaN where it cannot be judged.
        not_annotated: Share of the pixels that count nowhere.
        counts: What was dropped or changed, by rule.
        written: Nuclei by class as the annotation writes it.
        fault: What is wrong with the pixels, as a key of `IMAGE_FAULTS`; empty if nothing is.
        reasons: Why a person should look at it, the gravest first.
        error: Why it cannot be read; all else is then empty.
    """

    row: OwnTile
    size_px: tuple[int, int] = (0, 0)
    mpp: float = float("nan")
    mpp_source: str = ""
    nuclei: Nuclei | None = None
    n_by_class: tuple[int, ...] = ()
    contrast: float = float("nan")
    not_annotated: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)
    fault: str = ""
    reasons: tuple[str, ...] = ()
    error: str = ""

    @property
    def name(self) -> str:
        """The user's file, and the row in it where it is an array of images."""
        return name_of(self.row)

    @property
    def n_nuclei(self) -> int:
        """Nuclei that count."""
        return sum(self.n_by_class)


def overview_of(own: OwnData, rows: Iterable[OwnTile], checks: OwnChecks) -> Iterator[ImageOverview]:
    """Read every image once, and let the checks of a run see it; one that cannot be read is part of the result."""
    for row in rows:
        try:
            image = read_own_image(own, row)
        except CellvitError as error:
            yield ImageOverview(row, error=str(error))
            continue
        checks.add(image)
        yield _overview(own, image)


def suspicious_first(images: Iterable[ImageOverview]) -> list[ImageOverview]:
    """Images in the order in which a person should look at them: what cannot be read, then those with most reasons, then
    those whose nuclei differ least from what is around them."""

    def urgency(image: ImageOverview) -> tuple[bool, int, float]:
        return (not image.error, -len(image.reasons), np.inf if np.isnan(image.contrast) else image.contrast)

    return sorted(images, key=urgency)


def _overview(own: OwnData, image: OwnImage) -> ImageOverview:
    is_annotated = image.classes != NOT_ANNOTATED
    nuclei = measured_nuclei(image.instances, image.classes, mpp=image.mpp)
    contrast = nuclear_contrast(Annotated(image.pixels, image.instances, is_annotated), mpp=image.mpp)
    fault = image_fault(image.pixels, is_annotated)
    n_by_class = np.bincount(nuclei.classes, minlength=len(own.description.classes) + 1)[1:].tolist()
    height, width = image.instances.shape
    return ImageOverview(
        row=image.row,
        size_px=(width, height),
        mpp=image.mpp,
        mpp_source=image.mpp_source,
        nuclei=nuclei,
        n_by_class=tuple(n_by_class),
        contrast=contrast,
        not_annotated=float(np.mean(~is_annotated)),
        counts=image.counts,
        written=image.written,
        fault=fault,
        reasons=tuple(_reasons(image, nuclei, contrast, fault)),
    )


def _reasons(image: OwnImage, nuclei: Nuclei, contrast: float, fault: str) -> Iterator[str]:
    n, (low, high) = len(nuclei.classes), _DIAMETERS_UM
    if fault:
        yield IMAGE_FAULTS[fault]
    if (image.classes == NOT_ANNOTATED).all():
        yield "No pixel of it is annotated."
    elif not n:
        yield "It has no nucleus."
    if contrast < LIMIT:
        yield f"Its contours do not lie on nuclei (contrast {contrast:.2f}, expected {LIMIT:g} or more)."
    if n and not low <= (median := float(np.median(nuclei.diameter_um))) <= high:
        yield f"The median diameter of its nuclei is {median:.1f} um, expected {low:g} to {high:g}."
    if n_regions := image.counts.get("enclosing", 0):
        yield f"{n_regions} outlines enclose five or more others, as outlines of regions do."
    n_read = sum(image.written.values())
    for rule in _WATCHED:
        if (count := image.counts.get(rule, 0)) > _MANY * max(n_read, 1):
            yield f"{meaning_of(rule).capitalize()}: {count} in a file of {n_read} nuclei."
