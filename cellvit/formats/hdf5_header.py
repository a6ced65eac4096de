"""Headers of HDF5 stores: what a file says of itself, written and read so that a damaged file is refused by name.

Text is stored with a fixed length: attributes of variable length lie in HDF5's global heap, in which a damaged size makes the
library search without end.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np

from cellvit.errors import CellvitError, ContractError, IntegrityError
from cellvit.formats.digests import OwnDigest, check_unchanged, combined, missing, remake
from cellvit.formats.provenance import Provenance

_LONGEST_TEXT: Final = 60_000
"""Bytes of the longest text of fixed length; the header of an HDF5 object holds 64 KiB."""

_LARGEST_RATIO: Final = 1032
"""Bytes of an array for each byte of its file at most: more than gzip cannot compress (zlib's documentation)."""

_OWN: Final = "header_sha256"
"""Attribute with the digest of the other texts of the header and of the version."""


class StoreHeader(NamedTuple):
    """What a store says of itself.

    Attributes:
        columns: Names of its columns, in the order in which rows are hashed.
        content_sha256: Digest of all rows.
    """

    format: str
    version: int
    columns: tuple[str, ...]
    content_sha256: str
    provenance: Provenance


def open_hdf5(path: Path) -> h5py.File:
    """An HDF5 file open for reading.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It cannot be read as HDF5, or claims arrays that no file of its size can hold.
    """
    if not path.exists():
        raise missing(path)
    try:
        # Finished stores never change, and some disks have no locks.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ContractError(f"{path}: the file cannot be read as HDF5 ({error}). Fix: {remake(path)}") from error
    try:
        _check_sizes(file, path)
    except CellvitError:
        file.close()
        raise
    return file


def damaged(path: Path, where: str, error: Exception) -> IntegrityError:
    """The error that a part of a store cannot be read."""
    return IntegrityError(
        f"{path}: {where}: expected the values that were written, found damaged data ({error}). Fix: {remake(path)}"
    )


@contextmanager
def undamaged(path: Path, where: str) -> Iterator[None]:
    """Turn what h5py raises for a damaged part of a file into an error of ours that names it, and nothing else."""
    try:
        yield
    except CellvitError:
        raise
    except Exception as error:  # KeyError, OSError, RuntimeError, MemoryError, and more
        raise damaged(path, where, error) from error


def write_text(file: h5py.File, name: str, text: str) -> None:
    """Write an attribute; a text of fixed length where it is short enough."""
    content = text.encode()
    fixed = h5py.string_dtype("utf-8", len(content)) if 0 < len(content) <= _LONGEST_TEXT else h5py.string_dtype()
    file.attrs.create(name, np.array(content, dtype=fixed) if len(content) <= _LONGEST_TEXT else text, dtype=fixed)


def read_text(file: h5py.File, name: str) -> str:
    """The text of an attribute; empty if there is none."""
    value = file.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def read_store_header(file: h5py.File, path: Path, expected: tuple[str, int] | None = None) -> StoreHeader:
    """What a complete store says of itself.

    Args:
        expected: Name and version of the format; None for a store of any.

    Raises:
        ContractError: It is not complete, or is not a store of this format and version.
        IntegrityError: The header cannot be read.
    """
    with undamaged(path, "header"):
        found = {name: read_text(file, name) for name in ("format", "columns", "content_sha256", "provenance")}
        complete, version = file.attrs.get("complete"), file.attrs.get("format_version")
        if found["format"] and not (isinstance(complete, np.bool_) and complete):
            raise ContractError(
                f"{path}: the file is not complete, because its writer was stopped. Fix: {remake(path)}"
            )
        if not (found["format"] and isinstance(version, np.integer)):
            raise ContractError(f"{path}: expected a store of cellvit-optimus, found other HDF5. Fix: {remake(path)}")
        if expected and expected != (found["format"], int(version)):
            shown = " version ".join(map(str, expected))
            raise ContractError(
                f"{path}: expected format {shown}, found {found['format']} version {version}. Fix: {remake(path)}"
            )
        recorded = read_text(file, _OWN)
        if not recorded:
            raise ContractError(
                f"{path}: {_OWN}: expected the digest of the header, found none: the store is of an earlier version. "
                f"Fix: {remake(path)}"
            )
        check_unchanged(path, OwnDigest(recorded, combined(found | {"format_version": int(version)})))
        provenance = Provenance.model_validate_json(found["provenance"])
    columns = tuple(found["columns"].split(","))
    return StoreHeader(found["format"], int(version), columns, found["content_sha256"], provenance)


def write_store_header(file: h5py.File, header: StoreHeader) -> None:
    """Write the header of a store; the mark that it is complete is the last thing."""
    texts: Mapping[str, str] = {
        "format": header.format,
        "columns": ",".join(header.columns),
        "content_sha256": header.content_sha256,
        "provenance": header.provenance.model_dump_json(),
    }
    own = combined(dict(texts) | {"format_version": header.version})
    for name, text in [*texts.items(), (_OWN, own)]:
        write_text(file, name, text)
    file.attrs["format_version"] = header.version
    file.flush()
    file.attrs["complete"] = True


def _check_sizes(file: h5py.File, path: Path) -> None:
    """Refuse arrays that no file of this size can hold: reading them would take all memory."""
    with undamaged(path, "list of arrays"):
        size = path.stat().st_size
        for name, item in file.items():
            if isinstance(item, h5py.Dataset) and item.nbytes > _LARGEST_RATIO * size:
                raise ContractError(
                    f"{path}: `{name}`: expected an array of at most {_LARGEST_RATIO * size:,} bytes, as the file has {size:,}, "
                    f"found {item.shape} of {item.dtype}, {item.nbytes:,} bytes. Fix: {remake(path)}"
                )
