"""The device that torch computes on, and its arithmetic."""

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Final, Literal

import torch
from torch import Tensor

from cellvit.config.models import Precision
from cellvit.config.settings import Device
from cellvit.errors import MissingInputError

log = logging.getLogger(__name__)

_BFLOAT16: Final = ("avx512_bf16", "amx_bf16")
"""What processors are called that compute in bfloat16."""

_VECTOR_MATH: Final = (
    *("acos", "asin", "atan", "cos", "cosh", "sin", "sinh", "tan", "tanh"),
    *("erf", "erfc", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2", "rsqrt", "sqrt"),
)
"""Functions that torch computes by MKL's vector library on a CPU."""


def resolve_device(name: Device) -> torch.device:
    """The device of that name; auto is a GPU if torch can use one. A step calls this before torch computes anything.

    Raises:
        MissingInputError: The device is cuda or mps, and torch cannot use it; the message says why.
    """
    settle_vector_math()
    return _resolved(name)


@cache
def gpu_fault() -> str:
    """Why torch cannot use a GPU here; empty if it can. A card that nvidia-smi lists is not enough."""
    build = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return f"{build} is a build without CUDA"
    if not torch.cuda.is_available():
        return f"{build} is built for CUDA {torch.version.cuda} and finds no GPU: there is none, it is hidden, or its driver is too old"
    major, minor = torch.cuda.get_device_capability()
    kernels = [int(arch.split("_")[1].rstrip("af")) for arch in torch.cuda.get_arch_list()]
    # Kernels run on cards of their own generation with an equal or higher number.
    if kernels and not any(arch // 10 == major and arch % 10 <= minor for arch in kernels):
        return (
            f"{torch.cuda.get_device_name()} has compute capability {major}.{minor}, for which {build} has no kernels"
        )
    try:
        torch.zeros(1, device="cuda").item()
    except (RuntimeError, AssertionError) as error:  # of the driver, and of a build without CUDA
        return f"{torch.cuda.get_device_name()} does not compute: {str(error).splitlines()[0]}"
    return ""


@cache
def _resolved(name: Device) -> torch.device:
    """The device; the log says once what a process computes on, and why."""
    if name == "mps":
        return _mps()
    fault = "" if name == "cpu" else gpu_fault()
    if name == "cuda" and fault:
        raise MissingInputError(
            f"device: expected a GPU that torch can use (cuda), found none: {fault}. Fix: set device: auto or cpu; "
            "or check nvidia-smi and CUDA_VISIBLE_DEVICES, and install the build of torch for your driver and card."
        )
    if name == "cpu" or fault:
        log.info("computing on the CPU because %s", fault or "the setting is device: cpu")
        return torch.device("cpu")
    log.info("computing on %s because the setting is device: %s", torch.cuda.get_device_name(), name)
    return torch.device("cuda")


def mps_fault() -> str:
    """Why torch cannot use the GPU of a Mac here (Metal Performance Shaders); empty if it can."""
    if not torch.backends.mps.is_built():
        return f"torch {torch.__version__} is a build without mps"
    if not torch.backends.mps.is_available():
        return "this machine has no GPU that Metal supports, or its macOS is older than 14"
    return ""


def _mps() -> torch.device:
    if fault := mps_fault():
        raise MissingInputError(
            f"device: expected the GPU of a Mac (mps), found none: {fault}. Fix: set device: auto or cpu."
        )
    log.info("computing on the GPU of this Mac because the setting is device: mps")
    return torch.device("mps")


def in_float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on its device; on the CPU where the device has no float64 (mps)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


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
    """Autocast to bfloat16 where `arithmetic` is that.

    bfloat16 has the range of float32, so that no loss scaling and no skipped steps are needed.
    """
    is_bfloat16 = arithmetic(device, precision) == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16) if is_bfloat16 else nullcontext()


def arithmetic(device: torch.device, precision: Precision) -> Literal["float32", "bfloat16"]:
    """What a decoder computes in.

    "auto" is bfloat16 on GPUs that compute in it (Ampere and later). Older GPUs use float32, because float16 would need loss
    scaling and the decoder is small. On a CPU and on a Mac it is float32: the arithmetic must not depend on the type of the
    processor, unless "fastest" asks for that.
    """
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" and computes_in_bfloat16(device) else "float32"
    if precision == "fastest":
        return "bfloat16" if computes_in_bfloat16(device) else "float32"
    return precision


def computes_in_bfloat16(device: torch.device) -> bool:
    """False where bfloat16 is imitated, which takes longer than float32: three times on a processor with AVX2 alone."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and any(torch.cpu.get_capabilities().get(name) for name in _BFLOAT16)


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Inside the block, autocast is off."""
    supported = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if supported else nullcontext()
