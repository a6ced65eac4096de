"""A check that a computation stays on torch's meta device, whose tensors have shapes and no values."""

from itertools import chain

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class OneDevice(TorchDispatchMode):
    """Refuse tensors of another device than meta; single numbers of the CPU are arguments of kernels, not copies."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in((args, kwargs or {}, result)):
            assert tensor.device == META or not tensor.ndim, f"{func} in a step on {META}: a tensor of {tensor.device}"
        return result


def tensors_in(values) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    inner = list(values.values()) if isinstance(values, dict) else values
    return list(chain.from_iterable(map(tensors_in, inner))) if isinstance(inner, list | tuple) else []
