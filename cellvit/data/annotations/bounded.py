"""Content of annotation files, read within limits: files that would fill the memory are refused."""

import gzip
import json
import reprlib
import zlib
from pathlib import Path
from typing import IO, Final

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.not_a_file import not_a_file

LARGEST_BYTES: Final = 2**30
"""Largest content of a file: outlines of some 500,000 nuclei as GeoJSON."""

_SHOWN: Final = 300
"""Characters of a value that a message quotes."""

_CHUNK: Final = 2**20
_UNSUSPICIOUS_BYTES: Final = 2**24
_LARGEST_RATIO: Final = 200
"""Compressed GeoJSON is 4 to 30 times smaller than its content; files made to fill the memory are 1,000 times smaller."""


def read_bytes(path: Path) -> bytes:
    """Content of the file, decompressed if its name ends with .gz.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It cannot be read, or is larger than `LARGEST_BYTES`.
    """
    if (found := not_a_file(path)) == "nothing":
        raise MissingInputError(f"{path}: this annotation file does not exist. Fix: correct its name.")
    if found:
        raise ContractError(f"{path}: expected an annotation file, found {found}. Fix: export it again.")
    try:
        size = path.stat().st_size
        if path.suffix.lower() != ".gz":
            with path.open("rb") as file:
                return read_at_most(file, path, compressed_bytes=size)
        with gzip.open(path) as file:
            return read_at_most(file, path, compressed_bytes=size)
    except (OSError, EOFError, zlib.error) as error:
        raise ContractError(f"{path}: the file cannot be read: {error}. Fix: export or copy it again.") from error


def read_at_most(file: IO[bytes] | gzip.GzipFile, path: Path, *, compressed_bytes: int) -> bytes:
    """Content of the open file.

    Raises:
        ContractError: There is more than `LARGEST_BYTES`, or implausibly more than the compressed file has.
    """
    chunks, n = [], 0
    while chunk := file.read(_CHUNK):
        chunks.append(chunk)
        n += len(chunk)
        if n > LARGEST_BYTES or n > max(_UNSUSPICIOUS_BYTES, _LARGEST_RATIO * compressed_bytes):
            raise ContractError(
                f"{path}: expected at most {LARGEST_BYTES:,} bytes of annotations, at most {_LARGEST_RATIO} times what the "
                f"file has on disk, found more than {n:,}. Fix: export the annotations of fewer images to one file."
            )
    return b"".join(chunks)


def read_json(path: Path) -> object:
    """Content of a JSON file, or of one compressed with gzip.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It cannot be read, or is not JSON.
    """
    content = read_bytes(path)
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError) as error:  # of the text's encoding, of JSON, or of its depth
        raise ContractError(
            f"{path}: expected JSON, found a file of {len(content):,} bytes that starts with {content[:20]!r}: {error}. "
            "Fix: export it again; a copy may have been interrupted."
        ) from error
    return document


def shown(value: object) -> str:
    """The beginning of a value from a file, for messages."""
    text = reprlib.repr(value)  # bounds each part, but parts within parts add up
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
