"""The device that torch computes on."""

from functools import cache
from typing import Final

import torch

from cellvit.config.settings import Device
from cellvit.errors import MissingInputError

_VECTOR_MATH: Final = (
    *("acos", "asin", "atan", "cos", "cosh", "sin", "sinh", "tan", "tanh"),
    *("erf", "erfc", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2", "rsqrt", "sqrt"),
)
"""Functions that torch leaves to MKL's vector library on a CPU."""


def resolve_device(name: Device) -> torch.device:
    """The device of that name; auto is a GPU where torch sees one. First call of a step, before torch computes.

    Raises:
        MissingInputError: A GPU is asked for and torch sees none.
    """
    settle_vector_math()
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


@cache
def settle_vector_math() -> None:
    """Call each of MKL's vector functions once, in one thread, so that what follows has the same bits in every process.

    A function looks for its code on its first call. Where two threads make that call together, one of them may compute its part
    with other code, of another rounding. Seen on two threads beside other work: 8 of 25 trainings (sqrt in the HV loss) and
    one random initialisation in some dozens (erfinv) differed in the last bits, and with them all that followed.
    `benchmarks/first_calls.py` looks for it.
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for name in _VECTOR_MATH:
            getattr(torch, name)(one)
