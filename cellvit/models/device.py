"""The device that torch computes on, and its arithmetic."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Final

import torch

from cellvit.config.models import Precision
from cellvit.config.settings import Device
from cellvit.errors import MissingInputError

_VECTOR_MATH: Final = (
    *("acos", "asin", "atan", "cos", "cosh", "sin", "sinh", "tan", "tanh"),
    *("erf", "erfc", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2", "rsqrt", "sqrt"),
)
"""Functions that torch computes by MKL's vector library on a CPU."""


def resolve_device(name: Device) -> torch.device:
    """The device of that name; auto is a GPU if torch finds one. A step calls this before torch computes anything.

    Raises:
        MissingInputError: The device is cuda, and torch finds no GPU.
    """
    settle_vector_math()
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name == "cuda" and not available:
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        raise MissingInputError(
            f"device: cuda requested, but torch {torch.__version__} ({build}) finds no GPU. Fix: set device: auto or cpu; "
            "or check nvidia-smi and CUDA_VISIBLE_DEVICES, and install the build of torch for your driver."
        )
    return torch.device(name)


@cache
def settle_vector_math() -> None:
    """Call each of MKL's vector functions once, in one thread, so that results have the same bits in every process.

    Each function selects its implementation at its first call. If two threads make the first call at the same time, one
    may compute its part with another implementation, which rounds differently. On two threads of a busy machine, 8 of 25
    trainings (sqrt in the HV loss) and one of some dozens of random initialisations (erfinv) differed in the last bits,
    and so did everything after them. `benchmarks/first_calls.py` reproduces this.
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for name in _VECTOR_MATH:
            getattr(torch, name)(one)


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[None]:
    """Autocast to bfloat16 where `precision` asks for it; "auto" does on GPUs that compute in it (Ampere and later).

    bfloat16 has the range of float32, so that no loss scaling and no skipped steps are needed. Older GPUs use float32,
    because float16 would need both and the decoder is small. On a CPU, "auto" is float32: the arithmetic must not
    depend on the type of the processor.
    """
    if precision == "auto":
        computes_in_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if computes_in_it else "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Inside the block, autocast is off."""
    supported = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if supported else nullcontext()
