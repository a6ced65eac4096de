"""Trained OrganHead: checkpoint -> module, CLS tokens -> probabilities of the organs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int

from cellvit.data.batches import IDENTITY
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.hdf5 import Rows
from cellvit.inference.blocks import check_same_encoder
from cellvit.inference.loading import load_module
from cellvit.models.organ_head import OrganHead


@dataclass(frozen=True, slots=True)
class LoadedOrganHead:
    """A trained OrganHead, ready to predict; `header.organs` names its outputs in order."""

    module: OrganHead
    header: CheckpointHeader
    device: torch.device


def load_organ_head(path: Path, device: torch.device) -> LoadedOrganHead:
    """The OrganHead of a checkpoint; raises as `load_module`."""
    module, header = load_module(path, "organ_head", OrganHead, device)
    return LoadedOrganHead(module, header, device)


def predict_organs(
    head: LoadedOrganHead, features: Rows, rows: Int[np.ndarray, " r"]
) -> Float32[np.ndarray, "r organs"]:
    """Calibrated probabilities of `head.header.organs` for the tiles at `rows`, in one forward pass.

    Raises:
        StaleFileError: The features come from another encoder.
    """
    check_same_encoder(features, head.header.encoder)
    return organ_probabilities(head.module, read_cls(features, rows), head.device)


@torch.inference_mode()
def organ_probabilities(
    module: OrganHead, cls: Float32[np.ndarray, "n dim"], device: torch.device
) -> Float32[np.ndarray, "n organs"]:
    """Calibrated probabilities; the module is left in evaluation mode."""
    module.eval()
    probabilities: Float32[np.ndarray, "n organs"]
    probabilities = module.probabilities(torch.from_numpy(cls).to(device)).cpu().numpy()
    return probabilities


def read_cls(features: Rows, rows: Int[np.ndarray, " r"]) -> Float32[np.ndarray, "r dim"]:
    """CLS tokens of the identity view, 6 KB per tile at the width of H-optimus."""
    cls = np.empty((len(rows), features.shape("cls")[-1]), np.float32)
    features.read_into("cls", rows, cls, (IDENTITY,))
    return cls
