"""All checks of images and their annotation together, image by image, with little memory."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Int32, UInt8

from cellvit.data.alignment import LIMIT, Annotated, alignment_findings, likely_cause, nuclear_contrast
from cellvit.data.findings import Finding
from cellvit.data.plausibility import Nuclei, image_fault, image_findings, measured_nuclei, nuclei_findings
from cellvit.formats.dataset import NOT_ANNOTATED

_EXPLAINED: Final = 10
"""Misplaced images, at most, that the cause is looked for in; each takes 0.2 s."""


class ImageChecks:
    """Checks of a data set: `add` each image, then ask for the `findings`."""

    def __init__(self, class_names: Sequence[str], *, mpp: float) -> None:
        """Begin without images; `class_names` by number, background first, `mpp` is that of the images."""
        self._class_names, self._mpp = tuple(class_names), mpp
        self._faults: dict[str, str] = {}
        self._nuclei: dict[str, Nuclei] = {}
        self._contrasts: dict[str, float] = {}
        self._misplaced: list[Annotated] = []

    def add(
        self,
        name: str,
        image: UInt8[np.ndarray, "h w 3"],
        instances: Int32[np.ndarray, "h w"],
        classes: UInt8[np.ndarray, "h w"],
    ) -> None:
        """Check the next image; `name` is what a person knows it by, and no other image has it.

        Args:
            classes: Class of each pixel; `NOT_ANNOTATED` where nothing counts.
        """
        tile = Annotated(image, instances, classes != NOT_ANNOTATED)
        self._faults[name] = image_fault(image, tile.annotated)
        self._nuclei[name] = measured_nuclei(instances, classes, mpp=self._mpp)
        self._contrasts[name] = nuclear_contrast(tile, mpp=self._mpp)
        if self._contrasts[name] < LIMIT and len(self._misplaced) < _EXPLAINED:
            self._misplaced.append(Annotated(image.copy(), instances.copy(), tile.annotated))

    def findings(self) -> tuple[Finding, ...]:
        """What was found in all images so far; binary masks and a wrong resolution explain misplaced annotation."""
        broken = image_findings(self._faults)
        nuclei = nuclei_findings(self._nuclei, self._class_names, mpp=self._mpp)
        if any(finding.stops for finding in nuclei):
            return (*broken, *nuclei)
        cause = likely_cause(self._misplaced, mpp=self._mpp)
        return (*broken, *nuclei, *alignment_findings(self._contrasts, cause=cause))
