"""NumPy files of other programs: arrays by their exact size, and pickled dictionaries of arrays without running what they contain."""

import collections
import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from cellvit.data.opening import check_file, described, readable
from cellvit.errors import ContractError

MAGIC: Final = b"\x93NUMPY"

_EXPECTED: Final = "a NumPy array (.npy)"
_SAVE: Final = "Fix: save one array of numbers with numpy.save(path, array)."
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def is_pickled(path: Path) -> bool:
    """True if the .npy file holds Python objects in place of numbers.

    Raises:
        ContractError: The file is not a .npy file.
    """
    with readable(path, _EXPECTED), path.open("rb") as file:
        return bool(_header(path, file)[1].hasobject)


def open_array(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped into memory; nothing is read yet.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a .npy file, holds Python objects, or is longer or shorter than its header says.
    """
    check_file(path, _EXPECTED)
    with readable(path, _EXPECTED), path.open("rb") as file:
        shape, dtype = _header(path, file)
        if dtype.hasobject or dtype.names is not None:
            raise ContractError(f"{path}: expected an array of numbers, found {dtype} {shape}. {_SAVE}")
        size, found = file.tell() + math.prod(shape) * dtype.itemsize, path.stat().st_size
        if size != found:
            raise ContractError(
                f"{path}: expected {size:,} bytes for {dtype} {shape}, found {found:,}: the file is "
                f"{'truncated' if found < size else 'followed by other data'}. Fix: copy or save it again."
            )
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def row_of(path: Path, member: str, n: int) -> int:
    """The row of an array of `n` images that `member` names.

    Raises:
        ContractError: It is not a number, or the row does not exist.
    """
    if not (member.isascii() and member.isdecimal() and len(member) < 12 and int(member) < n):
        raise ContractError(
            f"{path}: expected a row from 0 to {n - 1} of the array as member, found {member!r}. Fix: name the row of the image."
        )
    return int(member)


def read_pickled_dictionary(path: Path) -> dict[str, Any]:
    """The dictionary of a .npy file that was saved with numpy.save(path, {...}).

    Only NumPy's arrays and plain containers are built; anything else in the file is refused before it could run.

    Raises:
        ContractError: The file is damaged, holds anything else, or is not a dictionary.
    """
    expected = "a dictionary of arrays, saved with numpy.save"
    check_file(path, expected)
    with readable(path, expected), path.open("rb") as file:
        _, dtype = _header(path, file)
        if not dtype.hasobject:
            raise ContractError(f"{path}: expected {expected}, found an array of {dtype}. {_SAVE}")
        content = file.read()
        _check_operations(path, content)
        found = _Restricted(path, content).load()
        values = found.item() if isinstance(found, np.ndarray) and found.size == 1 else found
    if not isinstance(values, dict):
        raise ContractError(f"{path}: expected {expected}, found {type(values).__name__}. {_SAVE}")
    return {str(key): value for key, value in values.items()}


def _header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    if file.read(len(MAGIC)) != MAGIC:
        hint = " It is a .npz archive under another name." if described(path).find("b'PK") >= 0 else ""
        raise ContractError(f"{path}: expected {_EXPECTED}. {described(path)}{hint} {_SAVE}")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ContractError(f"{path}: expected version 1.0 or 2.0 of the .npy format, found {version}. {_SAVE}")
    shape, _, dtype = _HEADERS[version](file)
    if any(side < 0 for side in shape):
        raise ContractError(f"{path}: expected a shape without negative sides, found {shape}. {_SAVE}")
    return shape, dtype


def _check_operations(path: Path, content: bytes) -> None:
    """Refuse numbers of the memo beyond the size of the file: the unpickler would allocate a table of that length."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name.endswith("PUT") and isinstance(argument, int) and argument > len(content):
            raise ContractError(f"{path}: the pickled data are damaged. Fix: save or copy the file again.")


class _Restricted(pickle.Unpickler):
    """An unpickler that knows NumPy's arrays, types and scalars, and nothing else that could be called."""

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise ContractError(
                f"{self._path}: expected arrays, numbers, text, lists and dictionaries only, found {module}.{name}: "
                "it is not read, because pickled files can run programs. "
                "Fix: save the arrays alone, for example the label map with numpy.save or as TIFF."
            )
        return found


def _empty(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """The empty array with which every pickled array begins; its content follows."""
    if kind is not np.ndarray or shape != (0,):
        raise ValueError(f"not the start of a pickled array: {kind} {shape} {code!r}")
    return np.zeros(0, np.int8)


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    found: np.generic = np.frombuffer(data, dtype, count=1)[0]
    return found


def _from_buffer(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _latin(text: str, encoding: str) -> bytes:
    """Bytes as protocols 0 to 2 write them."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding}")
    return text.encode("latin1")


_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _latin,
}
