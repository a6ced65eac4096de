"""Checkpoint -> module that is ready to predict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from cellvit.errors import ContractError
from cellvit.formats.checkpoints import CheckpointHeader, read_checkpoint
from cellvit.formats.digests import remake

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[AnyModule]):
    """A trained model, ready to predict (in evaluation mode, on `device`).

    Attributes:
        lanes: Batches that it computes at a time (`cellvit.inference.lanes`).
    """

    module: AnyModule
    header: CheckpointHeader
    device: torch.device
    lanes: int = 1


def load_module(
    path: Path, kind: str, build: Callable[..., AnyModule], device: torch.device, *, lanes: int = 1
) -> Loaded[AnyModule]:
    """The model of a checkpoint, with all its weights.

    Args:
        kind: Kind of model that the checkpoint must hold.
        build: Makes the module from the header's architecture.
        lanes: Batches that it is to compute at a time (`cellvit.inference.lanes`).

    Raises:
        MissingInputError: The file does not exist.
        AbsentModelError: The header says that there was nothing to train on.
        ContractError: The file holds another kind of model, or weights that do not fit its architecture.
    """
    header, weights = read_checkpoint(path)
    if header.kind != kind:
        raise ContractError(f"{path}: expected a model of kind {kind}, found {header.kind}. Fix: {remake(path)}")
    try:
        module = build(**header.architecture)
        module.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()}, strict=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ContractError(
            f"{path}: the weights do not fit the architecture in the header ({error}). Fix: {remake(path)}"
        ) from error
    return Loaded(module.to(device).eval(), header, device, lanes)
