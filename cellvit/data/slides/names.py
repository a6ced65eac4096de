"""Names of images that are safe as names of folders, unique, and the same in every run."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
"""What a name may be: no hidden file, no option of a command, nothing that a shell or a file system treats differently."""

RESERVED: Final = ("index.html", "index.csv")
"""Names that the folder of all images has for itself."""

LONGEST: Final = 100
"""Longest name in characters (decision): file systems allow 255 bytes, and names of outputs are added."""

_DOUBLE_SUFFIXES: Final = (".ome.tif", ".ome.tiff", ".ome.btf")
_DIGITS: Final = 8


def names_of(paths: Sequence[Path], taken: Collection[str] = ()) -> tuple[str, ...]:
    """A name for each image: its file name without the suffix, where that is safe and no other image has it.

    Others get a short digest of their file name, and those of one file name in several folders one of their path. Names that
    differ in upper and lower case only count as one, because some file systems keep only one of them.

    Args:
        paths: Different from each other.
        taken: Names that other images have.
    """
    choices = [_choices(path) for path in paths]
    turns = [0] * len(paths)
    while True:
        names = [choice[turn] for choice, turn in zip(choices, turns, strict=True)]
        counts = Counter(name.casefold() for name in [*names, *taken])
        crowded = [number for number, name in enumerate(names) if counts[name.casefold()] > 1]
        if not crowded:
            return tuple(names)
        for number in crowded:
            assert turns[number] + 1 < len(choices[number]), f"{paths[number]} is listed twice"
            turns[number] += 1


def is_safe(name: str) -> bool:
    """True if a name can be used as it is."""
    return bool(SAFE.fullmatch(name)) and len(name) <= LONGEST and name.casefold() not in RESERVED


def _choices(path: Path) -> list[str]:
    """Names of an image, the best first."""
    stem = _stem(path.name)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip(".-")[: LONGEST - 40] or "image"
    by_name, by_path = (hashlib.sha256(os.fsencode(text)).hexdigest() for text in (path.name, path))
    marked = [f"{plain}-{by_name[:_DIGITS]}", f"{plain}-{by_path[:_DIGITS]}", f"{plain}-{by_path[:32]}"]
    return [stem, *marked] if is_safe(stem) else marked


def _stem(name: str) -> str:
    for suffix in _DOUBLE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem
