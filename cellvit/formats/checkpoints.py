"""Documents: what a step found, as JSON that people and later steps read. Undefined numbers are null, never 0.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cellvit.errors import AbsentModelError, ContractError, MissingInputError
from cellvit.formats.atomic import replacing
from cellvit.formats.digests import OwnHash, check_as_written, combined
from cellvit.formats.documents import Document, Hashes, Number


class CheckpointHeader(Document):
    """Header of a checkpoint: what the weights are, what they came from and what they have seen.

    Attributes:
        status: trained; or absent, where there was nothing to train on (no weights in the file).
        architecture: Arguments that rebuild the module.
        folds: Folds by role (train, validate).
        metrics: Figures of the epoch that was kept.
        selection: How the epoch was chosen.
        tables: Hash (sha256) of the history of the training under the name history.
        sha256: Hash of the weights and of the header without this entry.
    """

    format: Literal["cellvit-checkpoint"] = "cellvit-checkpoint"
    kind: Literal["organ_head", "hovernet"]
    split: str
    family: str = ""
    status: Literal["trained", "absent"]
    reason: str = ""
    architecture: dict[str, Any] = Field(default_factory=dict)
    encoder: dict[str, Any] = Field(default_factory=dict)
    classes: tuple[str, ...] = ()
    organs: tuple[str, ...] = ()
    mpp: float
    folds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    tiles: dict[str, int] = Field(default_factory=dict)
    code: str = ""
    epoch: int = 0
    selection: str = ""
    metrics: dict[str, Number] = Field(default_factory=dict)
    tables: Hashes = Field(default_factory=dict)
    sha256: str = ""
    licence: str = "weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial)"


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


def write_checkpoint(path: Path, header: CheckpointHeader, weights: dict[str, torch.Tensor]) -> None:
    """Write weights (contiguous, on the CPU) and header; the bytes depend on nothing else."""
    with replacing(path) as temporary:
        tensors = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
        header = header.model_copy(update={"sha256": header_sha256(header, _weights_sha256(tensors))})
        # written by us: save_file gives a file that only its owner may read
        temporary.write_bytes(save(tensors, metadata={HEADER_KEY: header.model_dump_json()}))


def read_checkpoint(path: Path) -> tuple[CheckpointHeader, dict[str, torch.Tensor]]:
    """Header and weights of a trained model, as its training wrote them.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is no checkpoint, or a part of one.
        AbsentModelError: The file says that there was nothing to train on.
        IntegrityError: It was changed since.
    """
    header = read_header(path)
    if header.status == "absent":
        raise AbsentModelError(f"{path}: {header.reason}")
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    check_as_written(path, OwnHash(header.sha256, header_sha256(header, _weights_sha256(weights))))
    return header, weights


def _weights_sha256(weights: dict[str, torch.Tensor]) -> str:
    return named_sha256((name, weights[name].numpy()) for name in sorted(weights))
