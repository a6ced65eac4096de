"""Images that the weights of a decoder have seen, recognised by their pixels in any fold of any run."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int

from cellvit.errors import IntegrityError
from cellvit.formats.hdf5 import Rows

_DIGITS: Final = 16
"""Hex digits of the digest of an image: among a million images, two share one with a probability of 3e-8."""

_SHOWN: Final = 3
"""Tiles that an error names."""


def image_digests(tiles: Rows, rows: Int[np.ndarray, " r"]) -> tuple[str, ...]:
    """Digest of the pixels of each tile at `rows`.

    Tile id, annotation and patient are left out, so that renumbered folds and corrected annotations hide no image.
    """
    images = (tiles.read("image", rows[place : place + 1]) for place in range(len(rows)))
    return tuple(hashlib.sha256(image.tobytes()).hexdigest()[:_DIGITS] for image in images)


def seen_tiles(seen: Collection[str], tiles: Rows, rows: Int[np.ndarray, " r"]) -> tuple[str, ...]:
    """Ids of the tiles at `rows` whose image is in `seen`."""
    if not seen:
        return ()
    known, digests = frozenset(seen), image_digests(tiles, rows)
    names = tiles.names("tile_id", rows)
    return tuple(name for name, digest in zip(names, digests, strict=True) if digest in known)


def check_unseen(checkpoint: Path, seen: Collection[str], tiles: Rows, rows: Int[np.ndarray, " r"]) -> None:
    """Refuse test tiles whose image trained or selected the weights of `checkpoint`, which records the images in `seen`.

    Raises:
        IntegrityError: There are such tiles.
    """
    if found := seen_tiles(seen, tiles, rows):
        raise IntegrityError(
            f"{checkpoint}: test tiles must be unseen, but these weights, or those that they started from, have seen "
            f"{len(found)} of {len(rows)} test tiles of {tiles.path} ({', '.join(found[:_SHOWN])} ...), so that every value "
            "would be too good. Fix: set training.start_from to a checkpoint that never saw these images, or to scratch; "
            "`snakemake final`, which tests nothing, accepts every start"
        )
