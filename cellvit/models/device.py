"""The device that torch computes on."""

import torch

from cellvit.config.settings import Device
from cellvit.errors import MissingInputError


def resolve_device(name: Device) -> torch.device:
    """The device of that name; auto is a GPU where torch sees one.

    Raises:
        MissingInputError: A GPU is asked for and torch sees none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name == "cuda" and not available:
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        raise MissingInputError(
            f"device: cuda is asked for, but torch {torch.__version__} ({build}) sees no GPU. "
            "Set device: auto or cpu; or check nvidia-smi and CUDA_VISIBLE_DEVICES, and install torch for your driver."
        )
    return torch.device(name)
