"""What a folder of annotated images holds, before a person describes it: sizes, resolutions, classes, and what is wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellvit.data.annotations.options import Kind, Options, Place
from cellvit.data.annotations.read import read_annotation
from cellvit.data.images import read_image
from cellvit.data.pairing import Pair
from cellvit.errors import CellvitError


class FoundClass(NamedTuple):
    """A class as annotations write it (empty text: nuclei without one), its nuclei, and their median diameter."""

    name: str
    n: int
    diameter_px: float


class StatedMpp(NamedTuple):
    """Micrometres per pixel as image files state them, and in which entry; None if they do not."""

    mpp: float | None
    entry: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in the images and annotations of a folder.

    Attributes:
        sizes: Number of images by (width, height) in pixels.
        resolutions: Number of images by what their files state.
        classes: Classes, the most frequent first.
        n_nuclei: Nuclei of each image that could be read.
        counts: Everything that was dropped or changed while reading, by the name of the rule.
        faults: Why images or annotations cannot be read.
    """

    sizes: Mapping[tuple[int, int], int]
    resolutions: Mapping[StatedMpp, int]
    classes: tuple[FoundClass, ...]
    n_nuclei: tuple[int, ...]
    counts: Mapping[str, int]
    faults: tuple[str, ...]

    @property
    def n_without_class(self) -> int:
        """Nuclei without a class."""
        return sum(one.n for one in self.classes if not one.name)


def survey(root: Path, pairs: Iterable[Pair], kind: Kind, options: Options) -> Survey:
    """Read every image and annotation once; what cannot be read is listed, and does not end the survey."""
    sizes: Counter[tuple[int, int]] = Counter()
    resolutions: Counter[StatedMpp] = Counter()
    diameters: dict[str, list[float]] = {}
    n_nuclei, faults, counts = list[int](), list[str](), Counter[str]()
    for pair in pairs:
        try:
            image = read_image(root / pair.image, member=pair.member if pair.image.endswith(".npy") else "")
            height, width = image.pixels.shape[:2]
            sizes[width, height] += 1
            resolutions[StatedMpp(image.mpp and float(f"{image.mpp:.4g}"), image.mpp_source)] += 1
            place = Place(member=pair.member, offset=(pair.x, pair.y))
            annotation = read_annotation(root / pair.annotation, (height, width), kind, options, place)
        except CellvitError as error:
            faults.append(str(error))
            continue
        counts += Counter(annotation.counts) + Counter(image.counts)
        n_nuclei.append(len(annotation.classes))
        areas_px = np.bincount(annotation.instances.ravel(), minlength=len(annotation.classes) + 1)[1:]
        for name, diameter_px in zip(annotation.classes, np.sqrt(areas_px * 4 / np.pi).tolist(), strict=True):
            diameters.setdefault(name, []).append(diameter_px)
    found = (FoundClass(name, len(values), float(np.median(values))) for name, values in diameters.items())
    ordered = tuple(sorted(found, key=lambda one: (-one.n, one.name)))
    return Survey(sizes, resolutions, ordered, tuple(n_nuclei), counts, tuple(faults))
