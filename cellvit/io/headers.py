"""Headers of checkpoints, and their hashes, read without torch."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from cellvit.contracts.documents import CheckpointHeader
from cellvit.errors import ContractError, MissingInputError
from cellvit.io.hashing import combined
from cellvit.io.written import OwnHash

HEADER_KEY: Final = "cellvit"
"""Key of the header in the metadata of a safetensors file."""


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without loading weights.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is no checkpoint of this project.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Train it: snakemake -- {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})[HEADER_KEY]
        return CheckpointHeader.model_validate(json.loads(text))
    except (SafetensorError, KeyError, ValidationError, json.JSONDecodeError) as error:
        raise ContractError(
            f"{path}: is no checkpoint of cellvit-optimus ({error}). Train it again: rm {path} && snakemake -- {path}"
        ) from error


def weights_sha256(path: Path) -> str:
    """Hash of the weights of a checkpoint, whatever its header says."""
    with safe_open(path, framework="numpy") as file:
        return named_sha256((name, file.get_tensor(name)) for name in sorted(file.keys()))


def named_sha256(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Hash of named arrays, in order."""
    digest = hashlib.sha256()
    for name, values in arrays:
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def header_sha256(header: CheckpointHeader, weights: str) -> str:
    """Hash that a header carries, of itself and of its weights, given by theirs."""
    return combined({"header": header.model_copy(update={"sha256": ""}).model_dump_json(), "weights": weights})


def checkpoint_hash(path: Path) -> OwnHash:
    """What a checkpoint says of itself; the two differ where it was changed after it was written."""
    header = read_header(path)
    return OwnHash(header.sha256, header_sha256(header, weights_sha256(path)))
