"""The document about a user's data set: what was checked, changed or left out while its tiles were cut."""

from typing import Literal

from cellvit.formats.documents import Document


class OwnDataCheck(Document):
    """`prepare_own_data` accepted the data set.

    Attributes:
        n_resampled: Images whose resolution differs from that of the model.
        mpp_of_images: Every resolution that images have, in micrometres per pixel.
        changed: Number of everything that was dropped or changed, by the name of the rule (docs/annotations.md, docs/checks.md).
        warnings: Findings that do not stop a run, as sentences.
    """

    format: Literal["cellvit-own-data-check"] = "cellvit-own-data-check"
    version: int = 1
    n_images: int
    n_resampled: int
    mpp_of_images: tuple[float, ...]
    changed: dict[str, int]
    warnings: tuple[str, ...]
