"""A user's data set looked at as a whole, before it is cut into folds: what each image holds, and what is wrong with it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int64

from cellvit.data.cutting import CutImage, cut_image
from cellvit.data.findings import Finding
from cellvit.data.folds import folds_of
from cellvit.data.image_checks import ImageChecks
from cellvit.data.own_data import OwnData
from cellvit.data.own_images import OwnImage, read_own_image
from cellvit.errors import ContractError
from cellvit.formats.own_tiles import OwnTile

_FROM_READERS: Final = {
    "enclosing": (
        "outlines enclose five or more nuclei each. They are likely regions, which would count as nuclei. Fix: in "
        "dataset.yaml, name their class in annotations.region_classes (only what is inside counts) or in "
        "annotations.not_annotated (what is inside counts nowhere), or delete these outlines.",
        True,
    ),
    "duplicates_of_other_class": (
        "nuclei occur twice with different classes; the last in the file was kept. Fix: delete the wrong ones.",
        False,
    ),
    "cells_without_nucleus": (
        "cells have no outline of their nucleus, and the outline of the cell was taken, which is larger. Fix: export cells "
        "with their nuclei, or annotate nuclei.",
        False,
    ),
}
"""Findings from counts of readers: what follows the number, and whether it stops a run."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What one image contributes to the checks and to the folds.

    Attributes:
        name: Image, as tiles.csv names it.
        n_tiles: Tiles that are cut from it.
        class_counts: Nuclei of each class in these tiles; the first is class 1.
        counts: Everything that was dropped or changed, by the name of the rule.
    """

    row: OwnTile
    name: str
    mpp: float
    n_tiles: int
    class_counts: Int64[np.ndarray, " c"]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Folds:
    """Fold of each image, in the order of tiles.csv, and sentences about folds that were made."""

    fold: Int64[np.ndarray, " n"]
    warnings: tuple[str, ...] = ()


def survey(own: OwnData, checks: "OwnChecks", *, model_mpp: float) -> Iterator[Surveyed]:
    """Read and cut each image in turn, and let the checks see it.

    Raises:
        ContractError: An image or annotation cannot be read, or contradicts the description.
    """
    for row in own.rows:
        image = read_own_image(own, row)
        checks.add(image)
        cut = cut_own_image(image, model_mpp)
        yield Surveyed(
            row=row,
            name=name_of(row),
            mpp=image.mpp,
            n_tiles=len(cut.tiles),
            class_counts=nuclei_by_class(cut, len(own.description.classes)),
            counts=Counter(image.counts) + Counter(cut.counts),
        )


class OwnChecks:
    """Checks of a whole data set on its images as they are in the files; those of one resolution are judged together."""

    def __init__(self, own: OwnData) -> None:
        """Begin without images."""
        self._class_names = ("Background", *(entry.name for entry in own.description.classes))
        self._by_mpp: dict[float, ImageChecks] = {}
        self._counts: dict[str, Mapping[str, int]] = {}
        self._n_nuclei = 0

    def add(self, image: OwnImage) -> None:
        """Check the next image."""
        name = name_of(image.row)
        checks = self._by_mpp.setdefault(image.mpp, ImageChecks(self._class_names, mpp=image.mpp))
        checks.add(name, image.pixels, image.instances, image.classes)
        self._counts[name] = image.counts
        self._n_nuclei += int(image.instances.max(initial=0))

    def findings(self) -> tuple[Finding, ...]:
        """What was found in all images so far."""
        found = [finding for checks in self._by_mpp.values() for finding in checks.findings()]
        if not self._n_nuclei:
            message = "No image has a nucleus. Fix: look at the annotation files, and at `annotations` in dataset.yaml."
            found.append(Finding("no_nuclei", message, tuple(self._counts), stops=True))
        return (*found, *self._of_readers())

    def _of_readers(self) -> Iterator[Finding]:
        """What a reader can count but not decide."""
        for rule, (message, stops) in _FROM_READERS.items():
            found = {name: counts[rule] for name, counts in self._counts.items() if counts.get(rule)}
            if found:
                places = tuple(sorted(found, key=lambda name: (-found[name], name)))
                yield Finding(rule, f"{sum(found.values())} {message}", places, stops)


def cut_own_image(image: OwnImage, model_mpp: float) -> CutImage:
    """The tiles of an image at the resolution of the model."""
    try:
        return cut_image(image.pixels, image.instances, image.classes, mpp=image.mpp, model_mpp=model_mpp)
    except ContractError as error:
        error.add_note(f"in {name_of(image.row)}")
        raise


def nuclei_by_class(cut: CutImage, n_classes: int) -> Int64[np.ndarray, " c"]:
    """Nuclei of each class in the tiles of an image, each counted once; the first is class 1."""
    found = np.zeros(n_classes + 1, np.int64)
    for tile in cut.tiles:
        labels, first_px = np.unique(tile.instances, return_index=True)
        found += np.bincount(tile.classes.ravel()[first_px[labels > 0]], minlength=n_classes + 1)
    return found[1:]


def folds_by_image(own: OwnData, images: Sequence[Surveyed], *, folds: Sequence[int], seed: int) -> Folds:
    """The folds that tiles.csv gives, or as many as the settings list, made so that a patient is in one fold.

    Raises:
        SettingsError: There are fewer patients than folds.
        ContractError: tiles.csv gives other folds than the settings, or divides a patient between folds.
    """
    if own.folds:
        return Folds(_given(own, images, folds))
    groups = [image.row.patient or image.name for image in images]
    made = folds_of(
        groups,
        [image.row.organ for image in images],
        np.stack([image.class_counts for image in images]),
        k=len(folds),
        seed=seed,
        class_names=[entry.name for entry in own.description.classes],
    )
    return Folds(np.array(folds)[made.fold - 1], made.warnings)


def name_of(row: OwnTile) -> str:
    """Image as people find it: its path in the folder, and its row where the file holds many."""
    return f"{row.image}#{row.member}" if row.image.endswith(".npy") and row.member else row.image


def _given(own: OwnData, images: Sequence[Surveyed], folds: Sequence[int]) -> Int64[np.ndarray, " n"]:
    if set(own.folds) != set(folds):
        raise ContractError(
            f"{own.root / 'tiles.csv'}: expected the folds of the settings, {sorted(folds)}, found {sorted(own.folds)}. "
            f"Fix: set data.folds: {sorted(own.folds)}, or change the column `fold`."
        )
    fold_of: dict[str, int] = {}
    for image in images:
        if image.row.patient and fold_of.setdefault(image.row.patient, image.row.fold or 0) != image.row.fold:
            raise ContractError(
                f"{own.root / 'tiles.csv'}, line {image.row.line}: patient {image.row.patient!r} is in fold "
                f"{fold_of[image.row.patient]} and in fold {image.row.fold}: a decoder would be tested on patients that it "
                "was trained on. Fix: give all images of a patient one fold, or leave the column `fold` empty, and folds "
                "are made."
            )
    return np.array([image.row.fold for image in images], np.int64)
