"""What is asked for one image, and the digest of everything that decides the result."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellvit.config.prediction import PredictionSettings
from cellvit.errors import CellvitError, MissingInputError
from cellvit.formats.bundle import Bundle
from cellvit.formats.digests import combined, sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.not_a_file import not_a_file
from cellvit.formats.prediction import RUN, SlideRun
from cellvit.workflow.fingerprint import modules_fingerprint

_SAMPLED_BYTES: Final = 1 << 20
"""Bytes at the beginning and at the end of an image that are part of its identity; a slide of gigabytes is not read whole."""

_COMPUTING: Final = ("prediction/stream.py", "prediction/merging.py", "prediction/organ.py", "data/slides/tissue.py")
"""Modules that decide nuclei; what they import counts too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One image and how it is predicted.

    Attributes:
        settings: Settings of this image; a table of images may give its resolution and organ.
        region: Rectangle "x,y,width,height" in px of level 0; empty for none.
        regions: GeoJSON of regions; None for none.
        batch_size: Tiles that are predicted together; None chooses by the device.
    """

    path: Path
    name: str
    settings: PredictionSettings
    region: str = ""
    regions: Path | None = None
    batch_size: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The settings that decide the result, as run.json shows them."""
        chosen = self.settings.model_dump(mode="json", exclude={"images", "models"})
        own = {"region": self.region, "regions": self.regions.name if self.regions else ""}
        return {**chosen, **{name: value for name, value in own.items() if value}}


def computing_code() -> str:
    """Fingerprint of the code that decides nuclei; how results are written is not in it."""
    return modules_fingerprint(*_COMPUTING)


def request_key(request: Request, bundles: Sequence[Bundle]) -> str:
    """Digest of image, models, settings and code; computed without loading a model.

    Raises:
        MissingInputError: The image or the file of its regions does not exist, or is a pipe, a socket or a device.
    """
    for path in filter(None, (request.path, request.regions)):
        if (found := not_a_file(path)) not in ("", "a folder"):
            raise MissingInputError(
                f"{path}: expected a file, found {found}. Fix: correct its name, or save it as a file"
            )
    return combined(
        {
            "image": _image_identity(request.path),
            "models": [bundle.digest for bundle in bundles],
            "options": request.options,
            "regions": sha256_of(request.regions) if request.regions else "",
            "code": computing_code(),
        }
    )


def is_finished(folder: Path, key: str) -> bool:
    """Whether the folder holds the finished prediction of this key, with all its files."""
    try:
        run = read_document(folder / RUN, SlideRun)
    except CellvitError:
        return False
    return run.key == key and all((folder / name).is_file() for name in run.files)


def _image_identity(path: Path) -> dict[str, Any]:
    """Path, size, time of change, and digests of both ends."""
    try:
        found = path.stat()
        if path.is_dir():
            return {"path": str(path.resolve()), "mtime_ns": found.st_mtime_ns}
        with path.open("rb") as file:
            first = file.read(_SAMPLED_BYTES)
            file.seek(max(0, found.st_size - _SAMPLED_BYTES), os.SEEK_SET)
            last = file.read(_SAMPLED_BYTES)
    except OSError as error:
        raise MissingInputError(f"{path}: the image cannot be opened: {error.strerror}. Fix: check the path") from error
    ends = {"first": hashlib.sha256(first).hexdigest(), "last": hashlib.sha256(last).hexdigest()}
    return {"path": str(path.resolve()), "size": found.st_size, "mtime_ns": found.st_mtime_ns, **ends}
