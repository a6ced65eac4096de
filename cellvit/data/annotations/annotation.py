"""What a file of annotations says of one image: its nuclei, their classes as written there, and which region counts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32

from cellvit.errors import ContractError


@dataclass(frozen=True, slots=True)
class Annotation:
    """Annotated nuclei of one image, on its pixels.

    Attributes:
        instances: Nuclei 1..n without gaps, in the order of the file; 0 is background.
        classes: Class of each nucleus as the file writes it, a name or a number as text; empty where it has none.
            ``classes[i]`` belongs to label ``i + 1``.
        annotated: False in regions that the file marks as not annotated; they count nowhere.
        counts: Number of everything that was dropped or changed while reading, by the name of the rule
            (docs/annotations.md lists them), without zeros.
    """

    instances: Int32[np.ndarray, "h w"]
    classes: tuple[str, ...]
    annotated: Bool[np.ndarray, "h w"]
    counts: Mapping[str, int]

    def __post_init__(self) -> None:
        found = np.unique(self.instances[self.instances != 0])
        if not np.array_equal(found, np.arange(1, len(self.classes) + 1)):
            raise ContractError(
                f"the labels of an annotation must be 1..{len(self.classes)} without gaps, one for each class, "
                f"found {len(found)} labels from {found[:8].tolist()}"
            )
        if self.annotated.shape != self.instances.shape:
            raise ContractError(
                f"`annotated` and `instances` must have one shape, found {self.annotated.shape} and {self.instances.shape}"
            )
