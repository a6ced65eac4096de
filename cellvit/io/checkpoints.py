"""Checkpoints: safetensors with a `CheckpointHeader` under the key `cellvit`; nothing is pickled."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from cellvit.contracts.documents import CheckpointHeader
from cellvit.errors import AbsentModelError
from cellvit.io.atomic import replacing
from cellvit.io.headers import HEADER_KEY, header_sha256, named_sha256, read_header
from cellvit.io.written import OwnHash, check_as_written


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
