"""From the pixels of single nuclei and regions to the annotation of an image."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Int32

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.pixels import Pixels
from cellvit.errors import ContractError

Role = Literal["nucleus", "region", "not_annotated"]

_ENCLOSED: Final = 5
"""A nucleus may lie over one or two others in a thick section; an outline with more inside is likely to be a region."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The reading of one annotation file.

    Attributes:
        shape: Height and width of the image.
        counts: What was dropped or changed so far, by the name of the rule (`cellvit.data.annotations.rules`).
    """

    path: Path
    shape: tuple[int, int]
    options: Options
    place: Place
    counts: Counter[str] = field(default_factory=Counter)

    def role_of(self, name: str) -> Role:
        """What an outline of this class encloses; capitals make no difference."""
        if any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.options.not_annotated):
            return "not_annotated"
        return "region" if name.lower() in {region.lower() for region in self.options.region_classes} else "nucleus"


@dataclass(frozen=True, slots=True)
class Shape:
    """A nucleus or a region of an image; regions may have no pixel in it."""

    pixels: Pixels
    name: str
    role: Role


def assemble(shapes: Iterable[Shape], reading: Reading) -> Annotation:
    """The annotation of an image, from its nuclei and regions in the order of the file.

    Raises:
        ContractError: Regions are named in the options, and the file has none; or the name of a class cannot be printed.
    """
    listed, options, counts = list(shapes), reading.options, reading.counts
    for one in listed:
        if not one.name.isprintable():
            raise ContractError(
                f"{reading.path}: expected names of classes in printable characters, found {one.name!a}. Fix: rename the class."
            )
    counts["regions"] = sum(one.role == "region" for one in listed)
    counts["regions_not_annotated"] = sum(one.role == "not_annotated" for one in listed)
    if options.region_classes and not counts["regions"]:
        raise ContractError(
            f"{reading.path}: expected an outline of the class {' or '.join(options.region_classes)}, which encloses what is annotated "
            "(option region_classes), found none; whether the whole image is annotated cannot be known. Fix: draw the "
            "annotated region, around the whole image if all of it is annotated."
        )
    annotated = _annotated(listed, reading)
    nuclei = _without_duplicates([one for one in listed if one.role == "nucleus"], counts)
    if not annotated.all():
        nuclei = _inside(nuclei, listed, annotated, counts)
    instances, kept = _painted(nuclei, reading)
    return Annotation(instances, tuple(one.name for one in kept), annotated, {k: n for k, n in counts.items() if n})


def _annotated(shapes: Sequence[Shape], reading: Reading) -> Bool[np.ndarray, "h w"]:
    annotated = np.full(reading.shape, not reading.options.region_classes)
    for role in ("region", "not_annotated"):
        for one in shapes:
            if one.role == role:
                one.pixels.paint(annotated, role == "region")
    return annotated


def _without_duplicates(nuclei: Sequence[Shape], counts: Counter[str]) -> list[Shape]:
    last: dict[bytes, Shape] = {}
    for nucleus in nuclei:
        before = last.get(nucleus.pixels.key)
        if before is not None:
            counts["duplicates" if before.name == nucleus.name else "duplicates_of_other_class"] += 1
        last[nucleus.pixels.key] = nucleus
    return list(last.values())


def _inside(
    nuclei: Sequence[Shape], shapes: Sequence[Shape], annotated: Bool[np.ndarray, "h w"], counts: Counter[str]
) -> list[Shape]:
    """Nuclei whose centre is annotated. They are annotated as a whole, and none of the others' pixels is background."""
    barred = np.zeros_like(annotated)
    for one in shapes:
        if one.role == "not_annotated":
            one.pixels.paint(barred, True)
    width = annotated.shape[1]
    centres = [nucleus.pixels.centre(width) for nucleus in nuclei]
    inside = annotated.reshape(-1)[centres].tolist() if centres else []
    for nucleus, centre, is_inside in zip(nuclei, centres, inside, strict=True):
        if not is_inside:
            counts["not_annotated" if barred.reshape(-1)[centre] else "outside_regions"] += 1
            nucleus.pixels.paint(annotated, False)
    kept = [nucleus for nucleus, is_inside in zip(nuclei, inside, strict=True) if is_inside]
    for nucleus in kept:
        nucleus.pixels.paint(annotated, True)
    return kept


def _painted(nuclei: Sequence[Shape], reading: Reading) -> tuple[Int32[np.ndarray, "h w"], list[Shape]]:
    """Instances, and the nuclei that have a pixel. The smaller of two nuclei has the pixels of both; of equals, the later."""
    sizes = [nucleus.pixels.n for nucleus in nuclei]
    instances, enclosed = np.zeros(reading.shape, np.int32), np.zeros(len(nuclei) + 1, np.int64)
    for index in sorted(range(len(nuclei)), key=lambda index: (-sizes[index], index)):
        pixels = nuclei[index].pixels
        enclosed[instances.reshape(-1)[pixels.starts[len(pixels.starts) // 2]]] += 1
        pixels.paint(instances, index + 1)

    left = np.bincount(instances.reshape(-1), minlength=len(nuclei) + 1)[1:]
    counts = reading.counts
    counts["covered"] += int(np.count_nonzero(left == 0))
    counts["overlapping"] += int(np.count_nonzero((left > 0) & (left < np.array(sizes, np.int64))))
    counts["enclosing"] += int(np.count_nonzero(enclosed[1:] >= _ENCLOSED))

    numbers = np.zeros(len(nuclei) + 1, np.int32)
    numbers[1:] = np.where(left > 0, np.cumsum(left > 0), 0)
    return numbers[instances], [nucleus for nucleus, n in zip(nuclei, left, strict=True) if n]
