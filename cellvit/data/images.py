"""Reading one image of tissue: 8 bit RGB pixels, and the resolution that the file states.

PNG, JPEG, JPEG 2000, TIFF (strips or tiles, any compression that imagecodecs reads, OME-TIFF, the base level of a small
Aperio slide), and one row of an array of images (.npy). What would change values on the way is refused, with the fix.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import UInt8

from cellvit.data import npy, tiff
from cellvit.data.opening import check_file, described, readable
from cellvit.data.pillow import PNG, open_picture, png_depth
from cellvit.data.resolution import Spacing, agreed_mpp, spacing_of_dpi
from cellvit.errors import ContractError

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".jp2", ".tif", ".tiff", ".svs")
"""Suffixes of files that `read_image` reads; the content decides, and not the suffix."""

_EXPECTED: Final = "an image (PNG, JPEG, JPEG 2000 or TIFF)"
_PILLOW: Final = {
    PNG: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
SAVE_RGB: Final = (
    "Fix: save the image as RGB with 8 bits per channel (PNG or TIFF), for example in ImageJ: Image > Type > RGB Color."
)
"""What to do with an image whose values would have to be changed to be read as RGB."""

_ORIENTATION: Final = 0x0112  # of Exif
_OPAQUE: Final = 255


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Pixels of one image, and every resolution that its file states, which may contradict each other.

    Attributes:
        pixels: RGB, 0..255.
        spacings: Micrometres per pixel by the place where the file states them.
        counts: As in `ImageFile`.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    spacings: Mapping[str, Spacing]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of tissue as its file holds it.

    Attributes:
        pixels: RGB, 0..255.
        mpp: Micrometres per pixel; None if the file does not state them.
        mpp_source: Where the file states them, as "Aperio MPP"; empty if it does not.
        counts: What was left out or converted without loss: "further_images", "alpha", "grey", "palette".
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    mpp: float | None
    mpp_source: str
    counts: Mapping[str, int]


def read_image(path: Path, *, grey: bool = False, member: str = "") -> ImageFile:
    """Read an image; the first of a file with several.

    Args:
        path: File of the image, or array of images (n, h, w, 3).
        grey: Accept grey images of 8 bits, and repeat their values in the three channels.
        member: Row of an array of images.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged, no image, not RGB of 8 bits, or states two resolutions.
    """
    image = read_stored(path, grey=grey, member=member)
    return ImageFile(image.pixels, *agreed_mpp(path, image.spacings), image.counts)


def read_stored(path: Path, *, grey: bool = False, member: str = "") -> StoredImage:
    """Read an image as `read_image` does, with all resolutions that its file states.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged, no image, or not RGB of 8 bits.
    """
    start = check_file(path, _EXPECTED)
    if start.startswith(npy.MAGIC):
        return StoredImage(_row(path, member), {}, {})
    if member:
        raise ContractError(
            f"{path}: expected an array of images (.npy), of which {member!r} is a row. {described(path)} "
            "Fix: leave `member` empty for a file with one image, or copy the array again."
        )
    if start.startswith(tiff.SIGNATURES):
        return _tiff_image(path, grey)
    for signature, kind in _PILLOW.items():
        if start.startswith(signature):
            return _pillow_image(path, kind, grey)
    raise ContractError(
        f"{path}: expected {_EXPECTED}, found another format, a web page or text. {described(path)} "
        "Fix: export the image as PNG or TIFF, or download it again."
    )


def _tiff_image(path: Path, grey: bool) -> StoredImage:
    image = tiff.read_tiff(path)
    counts: Counter[str] = Counter(further_images=image.n_further)
    stored, kind = image.pixels, image.kind
    if kind == "RGB" and stored.ndim == 3 and stored.shape[2] in (3, 4):
        mode = "RGBA" if stored.shape[2] == 4 else "RGB"
    else:
        mode = {"MINISBLACK": "L"}.get(kind, kind) if stored.ndim == 2 else kind
    pixels = _rgb(path, stored, mode, grey, counts)
    return StoredImage(pixels, image.spacings, _counted(counts))


def _pillow_image(path: Path, kind: str, grey: bool) -> StoredImage:
    counts: Counter[str] = Counter()
    with readable(path, _EXPECTED):
        if kind == "PNG" and png_depth(path) == 16:  # Pillow would cut them to 8 bits without a word
            raise ContractError(f"{path}: expected 8 bits per channel, found 16. {SAVE_RGB}")
        with open_picture(path, kind) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            if orientation != 1:
                raise ContractError(tiff.rotated(path, orientation))
            counts["further_images"] = getattr(image, "n_frames", 1) - 1
            dpi = image.info.get("dpi")
            transparent = "transparency" in image.info
            if image.mode == "P" and not transparent:
                counts["palette"] = 1
                stored, mode = np.asarray(image.convert("RGB")), "RGB"
            else:
                stored, mode = np.asarray(image), "RGBA" if transparent else image.mode
    pixels = _rgb(path, stored, mode, grey, counts)
    spacing = spacing_of_dpi(*map(float, dpi)) if dpi else None
    stated: dict[str, Spacing] = {f"{kind} resolution": spacing} if spacing else {}
    return StoredImage(pixels, stated, _counted(counts))


def _rgb(path: Path, stored: np.ndarray, mode: str, grey: bool, counts: Counter[str]) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels, if `stored` holds them or can be converted without loss; `mode` as Pillow names it."""
    if stored.dtype != np.uint8:
        raise ContractError(f"{path}: expected 8 bits per channel, found {stored.dtype} ({mode}). {SAVE_RGB}")
    if mode == "RGBA" and stored.ndim == 3 and stored.shape[2] == 4:
        if not (stored[..., 3] == _OPAQUE).all():
            raise ContractError(
                f"{path}: expected an opaque image, found an alpha channel with values from {int(stored[..., 3].min())}: what shows "
                "through is not known. Fix: save the image without transparency."
            )
        counts["alpha"] = 1
        return np.ascontiguousarray(stored[..., :3])
    if mode == "RGB" and stored.ndim == 3 and stored.shape[2] == 3:
        return np.ascontiguousarray(stored)
    if mode == "L" and stored.ndim == 2:
        if grey:
            counts["grey"] = 1
            return np.repeat(stored[..., None], 3, axis=2)
        raise ContractError(
            f"{path}: expected RGB, found a grey image: it may be a mask, or one channel of an image. {SAVE_RGB}"
        )
    raise ContractError(f"{path}: expected RGB, found colours of the kind {mode}, shape {stored.shape}. {SAVE_RGB}")


def _row(path: Path, member: str) -> UInt8[np.ndarray, "h w 3"]:
    images = npy.open_array(path)
    if images.ndim == 3 and not member:
        images, row = images[None], 0
    else:
        row = npy.row_of(path, member, len(images) if images.ndim else 0)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype.kind not in "fiu":
        raise ContractError(
            f"{path}: expected RGB images (n, h, w, 3), found {images.dtype} {images.shape}. {SAVE_RGB}"
        )
    pixels = np.array(images[row])
    good = (pixels >= 0) & (pixels <= 255)  # in this form, NaN is not good
    if pixels.dtype.kind == "f":
        good &= pixels == np.floor(pixels)
    if not good.all():
        raise ContractError(
            f"{path}: row {row} must hold whole numbers 0..255, found {pixels[~good][0]}. Fix: store the images as uint8."
        )
    return pixels.astype(np.uint8)


def _counted(counts: Counter[str]) -> dict[str, int]:
    return {name: n for name, n in counts.items() if n}
