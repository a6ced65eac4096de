"""Checkpoints: safetensors with a `CheckpointHeader` under the key `cellvit`; nothing is pickled."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cellvit.contracts.documents import CheckpointHeader
from cellvit.errors import AbsentModelError, ContractError, MissingInputError
from cellvit.io.atomic import replacing

_KEY = "cellvit"


def write_checkpoint(path: Path, header: CheckpointHeader, weights: dict[str, torch.Tensor]) -> None:
    """Write weights (contiguous, on the CPU) and header; the bytes depend on nothing else."""
    with replacing(path) as temporary:
        tensors = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
        # written by us: save_file gives a file that only its owner may read
        temporary.write_bytes(save(tensors, metadata={_KEY: header.model_dump_json()}))


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without loading weights.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is no checkpoint of this project.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Train it: snakemake -- {path}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_KEY]
        return CheckpointHeader.model_validate(json.loads(text))
    except (SafetensorError, KeyError, ValidationError, json.JSONDecodeError) as error:
        raise ContractError(
            f"{path}: is no checkpoint of cellvit-optimus ({error}). Train it again: rm {path} && snakemake -- {path}"
        ) from error


def read_checkpoint(path: Path) -> tuple[CheckpointHeader, dict[str, torch.Tensor]]:
    """Header and weights of a trained model.

    Raises:
        AbsentModelError: The file says that there was nothing to train on.
    """
    header = read_header(path)
    if header.status == "absent":
        raise AbsentModelError(f"{path}: {header.reason}")
    with safe_open(path, framework="pt") as file:
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
