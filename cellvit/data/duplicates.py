"""Images that are in two folds: identical ones by their sha256, and near copies by a perceptual digest.

The perceptual digest is the image in grey at 16 x 16 pixels, without its coarse shades and at unit length. The similarity
of two images is the largest scalar product over the eight flips and rotations: 1 for copies, whatever their orientation,
brightness or contrast. On the 426 real tiles, copies that were turned and saved as JPEG of quality 80 have at least 0.996,
and the most similar tiles of two patients 0.36 (benchmarks/annotation_checks.py).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from cellvit.formats.hdf5 import SHA256_BYTES

SIMILAR: Final = 0.95
"""Similarity from which two images are near copies (decision, far from both sides of what was measured)."""

_SIDE: Final = 16
_COARSE: Final = 1.0
"""Standard deviation of the blur that is subtracted, in pixels of the small image: large shades of light tissue and
background alone make different tiles similar (0.76 instead of 0.36)."""

_FLAT: Final = 1.0
"""Mean deviation of the small image in grey levels below which an image shows nothing: blank tiles resemble each other."""

_BLOCK: Final = 1024
"""Images that are compared at a time with all others; the similarities of 10,000 need 40 MB."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of images, in their order.

    Attributes:
        exact: sha256 of size and pixels.
        form: The perceptual digest; 0 for an image that shows nothing.
    """

    exact: UInt8[np.ndarray, "n 32"]
    form: Float32[np.ndarray, "n 16 16"]

    def __len__(self) -> int:
        return len(self.exact)


class Copy(NamedTuple):
    """An image of one set that is a copy of an image of another set.

    Attributes:
        first, second: Rows in the two sets.
        similarity: At most 1.
        identical: True if every pixel is equal.
    """

    first: int
    second: int
    similarity: float
    identical: bool


def digests_of(images: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Digests:
    """Digests of RGB images of any size, one after the other."""
    both = [(_exact(image), _form(image)) for image in images]
    exact = np.frombuffer(b"".join(digest for digest, _ in both), np.uint8).reshape(len(both), SHA256_BYTES)
    form = np.array([form for _, form in both], np.float32).reshape(len(both), _SIDE, _SIDE)
    return Digests(exact, form)


def copies_between(first: Digests, second: Digests, *, similar: float = SIMILAR) -> tuple[Copy, ...]:
    """For each image of the second set that has a copy in the first: the identical or else the most similar one."""
    if not len(first):
        return ()
    row_of = {digest.tobytes(): row for row, digest in reversed(list(enumerate(first.exact)))}
    found = []
    for second_row, (nearest, similarity) in enumerate(_nearest(first.form, second.form)):
        same = row_of.get(second.exact[second_row].tobytes())
        if same is not None:
            found.append(Copy(same, second_row, 1.0, identical=True))
        elif similarity >= similar:
            found.append(Copy(nearest, second_row, similarity, identical=False))
    return tuple(found)


def _exact(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def _form(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "16 16"]:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).mean(axis=2)
    fine = small - cv2.GaussianBlur(small, (0, 0), _COARSE, borderType=cv2.BORDER_REFLECT)
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    return fine / length if length >= _FLAT * _SIDE else np.zeros_like(fine)


def _nearest(
    first: Float32[np.ndarray, "n 16 16"], second: Float32[np.ndarray, "m 16 16"]
) -> Iterator[tuple[int, float]]:
    """Most similar image of the first set, which has some, for each of the second, and their similarity."""
    turned = [np.ascontiguousarray(one.reshape(-1, _SIDE * _SIDE).T) for one in _orientations(first)]
    for start in range(0, len(second), _BLOCK):
        block = second[start : start + _BLOCK].reshape(-1, _SIDE * _SIDE)
        similarity = np.full((len(block), len(first)), -1, np.float32)
        for one in turned:
            np.maximum(similarity, block @ one, out=similarity)
        best = similarity.argmax(axis=1)
        yield from zip(best.tolist(), np.take_along_axis(similarity, best[:, None], 1)[:, 0].tolist(), strict=True)


def _orientations(images: Float32[np.ndarray, "n s s"]) -> Iterator[Float32[np.ndarray, "n s s"]]:
    """The eight flips and rotations."""
    for image in (images, images.swapaxes(1, 2)):
        for step_y in (1, -1):
            for step_x in (1, -1):
                yield image[:, ::step_y, ::step_x]
