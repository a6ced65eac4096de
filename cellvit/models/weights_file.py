"""Files of weights: tensors by name, and nothing else; whatever else lies under the name is refused by what it is."""

import pickle
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.not_a_file import not_a_file

_SAVE_TENSORS: Final = "Fix: save model.state_dict() alone, preferably with safetensors.torch.save_file"

_START: Final = 64
"""Number of first bytes that are compared with `_NO_WEIGHTS`."""

_NO_WEIGHTS: Final = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"<": "a web page",
    b'{"error': "an error message of a web server",
}
"""Kinds of files that failed downloads leave, by their first bytes in lower case."""

_FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights; those of 8 bits need factors that a file of tensors alone does not have."""

_SHOWN: Final = 5
"""Names that an error message lists at most."""


def read_weights(file: Path) -> dict[str, Tensor]:
    """Dense tensors of finite real numbers by name; no code in the file is executed.

    Raises:
        ContractError: The file holds anything else.
    """
    check_weights_file(file)
    if _is_program(file):
        raise ContractError(
            f"encoder.weights: {file}: expected tensors by name, but it is a program (TorchScript), which is never executed. "
            f"{_SAVE_TENSORS}"
        )
    try:
        weights: Any = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # readers of damaged files raise nearly anything
        # torch's own message advises to execute the file
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
            raise ContractError(
                f"encoder.weights: {file}: expected tensors alone, found a damaged file, or one with other Python objects, "
                f"which are never loaded. {_SAVE_TENSORS}"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ContractError(
            f"encoder.weights: {file}: expected tensors by name, but the file cannot be read as weights: {reason}. "
            "Fix: download or copy it again"
        ) from error
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(value, Tensor) for value in weights.values()):
        others = [repr(name) for name, value in weights.items() if not isinstance(value, Tensor)] if named else []
        content = f" with other things: {', '.join(others[:_SHOWN])}" if others else ""
        raise ContractError(
            f"encoder.weights: {file} must contain a state dict (tensors by name), found {type(weights).__name__}{content}. "
            f"{_SAVE_TENSORS}"
        )
    if odd := [name for name, value in weights.items() if not _is_usual(value)]:
        raise ContractError(
            f"encoder.weights: {file}: expected dense tensors of finite real numbers, found others: {', '.join(odd[:_SHOWN])}. "
            f"{_SAVE_TENSORS}"
        )
    return dict(weights)


def _is_program(file: Path) -> bool:
    """True for TorchScript, an archive that has a file of constants as no archive of tensors has (torch/serialization.py)."""
    try:
        with ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # no archive, or a damaged one: its reader says so
        return False


def _is_usual(value: Tensor) -> bool:
    """True for a dense tensor of numbers that are all finite."""
    is_dense = not (value.is_nested or value.is_meta or value.is_quantized) and value.layout == torch.strided
    is_number = value.dtype in _FLOATS or not (value.is_floating_point() or value.is_complex())
    return is_dense and is_number and bool(value.isfinite().all())


def described_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name with their shapes; of safetensors, without values (device meta), each type as float32 or int64.

    Raises:
        ContractError: The file holds no weights.
    """
    if file.suffix != ".safetensors":
        return read_weights(file)
    check_weights_file(file)
    try:
        with safe_open(file, framework="numpy") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  # not a dict
            types = {name: torch.float32 if "F" in part.get_dtype() else torch.int64 for name, part in parts.items()}
            return {
                name: torch.empty(part.get_shape(), dtype=types[name], device="meta") for name, part in parts.items()
            }
    except (SafetensorError, OSError) as error:
        raise ContractError(
            f"encoder.weights: {file}: expected safetensors, but the file cannot be read: {error}. Fix: download it again"
        ) from error


def check_weights_file(file: Path) -> None:
    """Refuse what a download leaves in place of weights: an empty file, a pointer of Git LFS, a web page.

    Raises:
        MissingInputError: The file does not exist, or is a link to a removed file, as in an incomplete cache of the hub.
        ContractError: The file is one of these.
    """
    if what := not_a_file(file):
        raise MissingInputError(
            f"encoder.weights: {file}: expected a file, found {what}. Fix: download it again, or name another file"
        )
    with file.open("rb") as opened:
        start = opened.read(_START).lstrip().lower()
    is_text = b"\0" not in start  # safetensors begin with a length, which may begin with any byte, and end with zeros
    found = next(
        (what for sign, what in _NO_WEIGHTS.items() if is_text and start.startswith(sign)),
        "" if start else "an empty file",
    )
    if found:
        raise ContractError(
            f"encoder.weights: {file}: expected weights, found {found} ({file.stat().st_size} bytes). "
            "Fix: download the file again, with a token of the hub if it needs one"
        )
