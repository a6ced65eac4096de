"""Reading and checking folds in PanNuke's official layout, block by block.

All properties in the description of the data set (Gamper et al. 2020, arXiv 2003.10778) on which later steps depend are
checked here, and only here. The masks of one fold have 8.4 GB: arrays are memory-mapped again for each block, so that
memory does not grow.
"""

import difflib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Num, UInt8

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.not_a_file import not_a_file
from cellvit.formats.tiles import NAME_BYTES
from cellvit.taxonomy import BACKGROUND_CHANNEL, ORGANS, TILE_PX

SIMULATED_MARK: Final = "SIMULATED.json"
"""File in the folder of a fold that marks it as made by `simulate_pannuke`."""

_SHOWN: Final = 8
"""Names that an error message lists at most."""

_LARGEST_PIXEL: Final = 255
_LARGEST_OF_HALF: Final = 128
"""No fold is so dark: the background of a slide is nearly white, and tissue is light between its nuclei."""
_BACKGROUND_TOLERANCE: Final = 0.01
"""Share of pixels in which the background channel may contradict the class channels; more is a wrong channel order."""

_LAYOUT: Final = "<root>/Fold N/images/foldN/images.npy and types.npy, and <root>/Fold N/masks/foldN/masks.npy"
_DOWNLOAD: Final = f"Fix: download the fold again, or convert your tiles to PanNuke's layout: {_LAYOUT}."
_CHANNEL_ORDER: Final = (
    "Fix: check the order of the channels: Neoplastic, Inflammatory, Connective, Dead, Epithelial, background."
)
_NAME_TILES: Final = (
    "Fix: save one name for each tile, in the order of types.npy, empty where unknown: "
    "numpy.save(path, numpy.array(names, dtype=str)); or remove the file: "
)
_WITHOUT_FILE: Final = {
    "patients": "intervals are then over tiles.",
    "sources": "there are then no values by source.",
}

Names = Literal["patients", "sources"]
"""What an optional file names for each tile of a fold: its patient or slide, or the laboratory or data set it comes from."""


@dataclass(frozen=True, slots=True)
class FoldFiles:
    """The files of a fold.

    Attributes:
        patients, sources: `Names` of the tiles, which the official download does not have; None, or a missing file, where
            unknown.
    """

    fold: int | str
    images: Path
    types: Path
    masks: Path
    patients: Path | None = None
    sources: Path | None = None

    @property
    def by_name(self) -> dict[str, Path]:
        """Files of the official layout, by the name of their array."""
        return {"images": self.images, "types": self.types, "masks": self.masks}

    @property
    def names(self) -> dict[str, Path]:
        """The files with `Names` of the tiles that exist."""
        given = {"patients": self.patients, "sources": self.sources}
        return {name: path for name, path in given.items() if path is not None and not_a_file(path) != "nothing"}

    @property
    def inputs(self) -> dict[str, Path]:
        """All files that are read: those of the official layout, and those with names of the tiles."""
        return self.by_name | self.names

    @property
    def mark(self) -> Path:
        """The file that marks the fold as simulated, whether it exists or not."""
        return self.images.parents[2] / SIMULATED_MARK

    @property
    def simulated(self) -> bool:
        """True if the fold is marked as made by `simulate_pannuke`."""
        return self.mark.exists()


def fold_files(root: Path, fold: int | str) -> FoldFiles:
    """Paths of a fold (a number, or a wildcard for it) in the official layout; no file is opened."""
    home = root / f"Fold {fold}"
    images = home / "images" / f"fold{fold}"
    masks = home / "masks" / f"fold{fold}"
    official = images / "images.npy", images / "types.npy", masks / "masks.npy"
    return FoldFiles(fold, *official, patients=images / "patients.npy", sources=images / "sources.npy")


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Raw tiles of a fold, checked.

    Attributes:
        first: Row of the first tile in the fold.
        images: RGB, 0..255.
        masks: Instance ids in class channels 0..4, binary background in channel 5.
        background_mismatch_px: Pixels in which channel 5 contradicts the class channels.
    """

    first: int
    images: UInt8[np.ndarray, "b 256 256 3"]
    masks: Num[np.ndarray, "b 256 256 6"]
    background_mismatch_px: int


def read_types(files: FoldFiles) -> tuple[str, ...]:
    """Organ of every tile of the fold.

    Raises:
        MissingInputError: A file of the fold is missing.
        ContractError: Lengths or shapes differ from the layout, or an organ is not one of PanNuke's 19.
    """
    _check_present(files)
    types = _load(files.types, mapped=False)
    if types.dtype.kind not in "US" or types.ndim != 1:
        raise ContractError(f"{files.types}: expected organ names (n,), found {types.dtype} {types.shape}. {_DOWNLOAD}")
    names = _decoded(types)
    for path, channels in ((files.images, 3), (files.masks, BACKGROUND_CHANNEL + 1)):
        array, shape = _load(path), (len(names), TILE_PX, TILE_PX, channels)
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise ContractError(
                f"{path}: expected numbers {shape} (types.npy names {len(names)} tiles), found {array.dtype} {array.shape}. "
                f"{_DOWNLOAD}"
            )
    _check_organs(files.types, names)
    return names


def read_names(files: FoldFiles, kind: Names, n: int) -> tuple[str, ...]:
    """Patient or source of each of the `n` tiles of the fold; empty where unknown, as for all tiles without the file.

    Raises:
        ContractError: The file does not have one name for each tile, or a name is too long or not printable.
    """
    path, fix = files.names.get(kind), _NAME_TILES + _WITHOUT_FILE[kind]
    if path is None:
        return ("",) * n
    if found := not_a_file(path):
        raise ContractError(f"{path}: expected a file with the names of {kind}, found {found}. {fix}")
    names = _load(path, mapped=False, fix=fix)
    if names.dtype.kind not in "US" or names.shape != (n,):
        raise ContractError(
            f"{path}: expected names of {kind} ({n},) as text, one for each tile of types.npy, "
            f"found {names.dtype} {names.shape}. {fix}"
        )
    named = _decoded(names)
    _check_names(path, named, f"Shorten or clean the names, and keep them different for different {kind}. {fix}")
    return named


def read_blocks(files: FoldFiles, *, tiles: int = 16) -> Iterator[RawBlock]:
    """Raw tiles in order, in blocks of `tiles` (16 need about 75 MB).

    Raises:
        ContractError: Pixel values are not 0..255, or the background channel is not binary.
    """
    n = len(_load(files.types, mapped=False))
    for first in range(0, n, tiles):
        rows = slice(first, min(first + tiles, n))
        images, masks = np.array(_load(files.images)[rows]), np.array(_load(files.masks)[rows])
        _check_images(files.images, first, images)
        mismatch = _check_background(files.masks, first, masks)
        yield RawBlock(first, images.astype(np.uint8), masks, mismatch)


def check_fold(files: FoldFiles, *, mismatch_px: int, nuclear_px: int, brightest: int, n: int) -> None:
    """Check properties of the whole fold.

    Raises:
        ContractError: No tile has a nucleus, the background channel contradicts the classes too often, or the images
            are scaled to another range.
    """
    if not n:
        return
    if not nuclear_px:
        raise ContractError(
            f"{files.masks}: channels 0 to {BACKGROUND_CHANNEL - 1} must hold instance ids, found no nucleus in {n} tiles. "
            f"{_DOWNLOAD}"
        )
    if brightest < _LARGEST_OF_HALF:
        raise ContractError(
            f"{files.images}: expected values 0..{_LARGEST_PIXEL}, found {brightest} as the largest of the fold: the images "
            f"are scaled to 0..{1 if brightest <= 1 else brightest}. Fix: store them as 0..{_LARGEST_PIXEL}."
        )
    share = mismatch_px / (n * TILE_PX**2)
    if share > _BACKGROUND_TOLERANCE:
        raise ContractError(
            f"{files.masks}: channel {BACKGROUND_CHANNEL} must be 1 exactly where channels 0 to {BACKGROUND_CHANNEL - 1} are 0; "
            f"found {share:.1%} of pixels that contradict it (at most {_BACKGROUND_TOLERANCE:.0%} is accepted). "
            f"{_CHANNEL_ORDER}"
        )


def _decoded(names: np.ndarray) -> tuple[str, ...]:
    """Names as text; bytes are read as UTF-8, and invalid ones become characters that are not printable, and are refused."""
    return tuple(name.decode(errors="surrogateescape") if isinstance(name, bytes) else name for name in names.tolist())


def _check_present(files: FoldFiles) -> None:
    missing = {path: found for path in files.by_name.values() if (found := not_a_file(path))}
    if missing:
        shown = "\n  ".join(
            str(path) if found == "nothing" else f"{path} (found {found})" for path, found in missing.items()
        )
        root = files.images.parents[3]
        there = ", ".join(sorted(path.name for path in root.iterdir())[:_SHOWN]) if root.is_dir() else "no such folder"
        raise MissingInputError(
            f"fold {files.fold}: these files do not exist:\n  {shown}\nFound in {root}: {there or 'nothing'}\n"
            f'Fix: set data.root to the folder with "Fold {files.fold}", written like that; unpack the downloads there. The '
            f"official layout is {_LAYOUT}."
        )


def _load(path: Path, *, mapped: bool = True, fix: str = _DOWNLOAD) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        _check_letters(array)
    except Exception as error:  # NumPy raises nearly anything for a damaged header, TokenError included
        with path.open("rb") as file:
            start = file.read(16)
        raise ContractError(
            f"{path}: the file cannot be read as a .npy array; it starts with {start!r} and has {path.stat().st_size:,} bytes. "
            f"It may be a broken download, a web page saved under this name, or pickled objects. {fix}"
        ) from error
    _check_size(path, array)
    return array


def _check_letters(array: np.ndarray) -> None:
    """Refuse numbers that are no letters in text, which Python cannot show."""
    if array.dtype.kind == "U" and array.size:
        letters = np.ascontiguousarray(array).view(array.dtype.byteorder.replace("|", "=") + "u4")
        if letters.max() > sys.maxunicode:
            raise ValueError("text with numbers that are no letters")


def _check_size(path: Path, array: np.ndarray) -> None:
    """Refuse bytes after the array: the file is not what was saved."""
    expected = getattr(array, "offset", None)  # of an array that is mapped
    if expected is not None and path.stat().st_size != expected + array.nbytes:
        raise ContractError(
            f"{path}: the header says {array.dtype} {array.shape}, which is {expected + array.nbytes:,} bytes with the "
            f"header; the file has {path.stat().st_size:,}. It is damaged, or several files were joined. {_DOWNLOAD}"
        )


def _check_organs(path: Path, names: tuple[str, ...]) -> None:
    for row, name in enumerate(names):
        if name not in ORGANS:
            near = difflib.get_close_matches(name, ORGANS, n=1, cutoff=0.75)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ContractError(
                f"{path}: row {row} is {json.dumps(name[: 2 * NAME_BYTES])}, which is not one of PanNuke's 19 organs: {', '.join(ORGANS)}.{hint} "
                f"Fix: correct the name, or describe a data set of your own (docs/own_data.md)."
            )


def _check_names(path: Path, names: tuple[str, ...], fix: str) -> None:
    for row, name in enumerate(names):
        if not name.isprintable() or name != name.strip() or len(name.encode()) > NAME_BYTES:
            size = len(name.encode(errors="replace"))
            raise ContractError(
                f"{path}: row {row} is {json.dumps(name[: 2 * NAME_BYTES])} ({size} bytes); "
                f"expected at most {NAME_BYTES} bytes of printable UTF-8 without spaces around it. {fix}"
            )


def _check_images(path: Path, first: int, images: Num[np.ndarray, "b h w c"]) -> None:
    good = (images >= 0) & (images <= _LARGEST_PIXEL)  # in this form, NaN is not good
    if images.dtype.kind == "f":
        good &= images == np.floor(images)
    if not good.all():
        tile, row, column, channel = (int(i) for i in np.argwhere(~good)[0])
        raise ContractError(
            f"{path}: tile {first + tile} has {images[tile, row, column, channel]} at row {row}, column {column}, "
            f"channel {channel}; expected whole numbers 0..{_LARGEST_PIXEL}. {_DOWNLOAD}"
        )


def _check_background(path: Path, first: int, masks: Num[np.ndarray, "b h w 6"]) -> int:
    background = masks[..., BACKGROUND_CHANNEL]
    if not ((background == 0) | (background == 1)).all():
        values = np.unique(background)
        raise ContractError(
            f"{path}: channel {BACKGROUND_CHANNEL} of tiles {first} to {first + len(masks) - 1} must be binary background, "
            f"found values {values[:6].tolist()}. {_CHANNEL_ORDER}"
        )
    empty = (masks[..., :BACKGROUND_CHANNEL] == 0).all(axis=-1)
    return int(np.count_nonzero(empty != (background == 1)))
