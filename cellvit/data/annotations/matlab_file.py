"""Numeric variables of MATLAB files of version 5 (to 7.2) and 7.3.

scipy.io crashes the process on some damaged files of version 5, so that each of their elements would have to be checked
before. For plain numeric arrays this check is the reader: the values follow the last header that it looks at.

References:
    MAT-File Format, The MathWorks, chapter 1 (level 5 MAT-files).
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np

from cellvit.data.opening import DOWNLOAD, check_file, described, readable
from cellvit.errors import ContractError

_EXPECTED: Final = "a MATLAB file (.mat) of version 5 or 7.3"
_LARGEST_BYTES: Final = 2**30
"""Largest variable that is read: a map of doubles of 11,000 x 11,000 px."""

_HEADER_BYTES: Final = 128
_MATRIX, _COMPRESSED, _INT8, _INT32, _UINT32 = 14, 15, 1, 5, 6
_DTYPES: Final = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_NUMERIC_CLASSES: Final = range(6, 16)  # double, single, int8 ... uint64
_COMPLEX: Final = 0x800
_MOST_DIMENSIONS: Final = 32


class DamagedError(ValueError):
    """An element of the file does not fit what its header says."""


@dataclass(frozen=True, slots=True)
class MatlabFile:
    """Variables of a MATLAB file.

    Attributes:
        numeric: Arrays of numbers that were asked for, by name, in MATLAB's order of axes (row, column).
        names: Names of all variables.
    """

    numeric: dict[str, np.ndarray]
    names: tuple[str, ...]


def read_matlab_file(path: Path, wanted: tuple[str, ...]) -> MatlabFile:
    """Read the `wanted` variables that the file has and that are real arrays of numbers.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged or no MATLAB file of these versions.
    """
    start = check_file(path, _EXPECTED)
    if start.startswith(b"MATLAB 7.3 MAT-f"):
        with readable(path, _EXPECTED):
            return _version_7_3(path, wanted)
    if start.startswith(b"MATLAB 5.0 MAT-f"):
        if path.stat().st_size > _LARGEST_BYTES:
            raise ContractError(f"{path}: expected at most {_LARGEST_BYTES:,} bytes. Fix: save one image in each file.")
        with readable(path, _EXPECTED):
            return _version_5(path.read_bytes(), wanted)
    hint = ""
    if start.startswith(b"\x89HDF"):
        hint = " It is HDF5 that MATLAB did not write, so that the order of its axes is not known."
    raise ContractError(
        f"{path}: expected {_EXPECTED}. {described(path)}{hint} "
        "Fix: save it from MATLAB with save(..., '-v7'), or from Python with scipy.io.savemat."
    )


class _Element(NamedTuple):
    kind: int
    data: memoryview


def _version_5(content: bytes, wanted: tuple[str, ...]) -> MatlabFile:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER_BYTES])
    if order is None:
        raise DamagedError("the header has no mark of the byte order")
    numeric: dict[str, np.ndarray] = {}
    names: list[str] = []
    for kind, data in _elements(memoryview(content)[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(_inflated(data), order), _Element(0, data))
        if kind != _MATRIX:
            raise DamagedError(f"an element of type {kind} in place of a variable")
        name, array = _variable(data, order, wanted)
        names.append(name)
        if array is not None:
            numeric[name] = array
    return MatlabFile(numeric, tuple(names))


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """Elements that follow each other in `data`; each must end inside it."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise DamagedError("the file ends inside the header of an element")
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # a small element: size and type share four bytes, the data are in the next four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise DamagedError(f"a small element of {size} bytes")
        else:
            # Elements end at multiples of 8 bytes, compressed ones where they end.
            start, end = at + 8, at + 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data):
            raise DamagedError(f"an element of {size:,} bytes ends after the end of the file")
        yield _Element(kind, data[start : start + size])
        at = end


def _inflated(data: memoryview) -> memoryview:
    stream = zlib.decompressobj()
    content = stream.decompress(data, _LARGEST_BYTES)
    if not stream.eof:  # the checksum is at the end
        raise DamagedError("a compressed variable is truncated or too large")
    return memoryview(content)


class _Variable(NamedTuple):
    name: str
    array: np.ndarray | None


def _variable(data: memoryview, order: str, wanted: tuple[str, ...]) -> _Variable:
    parts = _elements(data, order)
    flags, dimensions, name = (_next(parts, kind) for kind in (_UINT32, _INT32, _INT8))
    if len(flags) != 8 or len(dimensions) % 4 or not 8 <= len(dimensions) <= 4 * _MOST_DIMENSIONS:
        raise DamagedError("the header of a variable has another length")
    called = bytes(name).decode("ascii")
    (bits,) = struct.unpack_from(order + "I", flags)
    if called not in wanted or bits & 0xFF not in _NUMERIC_CLASSES or bits & _COMPLEX:
        return _Variable(called, None)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    kind, values = next(parts, _Element(0, data[:0]))
    if min(shape) < 0 or kind not in _DTYPES:
        raise DamagedError(f"variable {called} of shape {shape} and type {kind}")
    dtype = np.dtype(order + _DTYPES[kind])
    if math.prod(shape) * dtype.itemsize != len(values):
        raise DamagedError(f"variable {called} of shape {shape} has {len(values):,} bytes")
    return _Variable(called, np.frombuffer(values, dtype).reshape(shape, order="F"))


def _next(parts: Iterator[_Element], kind: int) -> memoryview:
    found = next(parts, None)
    if found is None or found.kind != kind:
        raise DamagedError(
            f"expected an element of type {kind} in the header of a variable, found {found and found.kind}"
        )
    return found.data


def _version_7_3(path: Path, wanted: tuple[str, ...]) -> MatlabFile:
    numeric: dict[str, np.ndarray] = {}
    with h5py.File(path, "r", locking=False) as file:
        names = tuple(str(name) for name in file if not name.startswith("#"))
        for name in wanted:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue  # missing, or in another file
            item = file[name]
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf" or item.external:
                continue
            if "MATLAB_empty" in item.attrs:
                numeric[name] = np.zeros((0, 0))
                continue
            if item.size * item.dtype.itemsize > _LARGEST_BYTES:
                raise ContractError(f"{path}: {name} claims the shape {item.shape}. {DOWNLOAD}")
            numeric[name] = item[()].T  # HDF5 has MATLAB's axes in the opposite order
    return MatlabFile(numeric, names)
