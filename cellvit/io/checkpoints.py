"""Checkpoints: safetensors with a `CheckpointHeader` under the key `cellvit`; nothing is pickled."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from cellvit.contracts.documents import CheckpointHeader
from cellvit.errors import AbsentModelError
from cellvit.io.atomic import replacing
from cellvit.io.headers import HEADER_KEY, header_sha256, named_sha256, read_header


def write_checkpoint(path: Path, header: CheckpointHeader, weights: dict[str, torch.Tensor]) -> None:
    """Write weights (contiguous, on the CPU) and header; the bytes depend on nothing else."""
    with replacing(path) as temporary:
        tensors = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
        weights_hash = named_sha256((name, tensor.numpy()) for name, tensor in tensors.items())
        header = header.model_copy(update={"sha256": header_sha256(header, weights_hash)})
        # written by us: save_file gives a file that only its owner may read
        temporary.write_bytes(save(tensors, metadata={HEADER_KEY: header.model_dump_json()}))


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
