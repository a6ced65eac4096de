"""Operations that numpy and torch spell differently, for code that runs on both."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, Num, Shaped

Array = Any
"""A numpy array or a torch tensor; results have the type and the device of the arguments."""


def cast(values: Num[Array, " n"], dtype: str) -> Num[Array, " n"]:
    """The values converted to the type of this name."""
    return values.astype(dtype) if isinstance(values, np.ndarray) else values.to(getattr(torch, dtype))


def count(like: Shaped[Array, " n"]) -> Int64[Array, " n"]:
    """0, 1, 2 ..., with the length of `like`."""
    return np.arange(len(like)) if isinstance(like, np.ndarray) else torch.arange(len(like), device=like.device)


def changes(values: Num[Array, " n"]) -> Bool[Array, " n"]:
    """Whether each value differs from the one before; True for the first."""
    if isinstance(values, np.ndarray):
        changed: Array = np.ones(len(values), bool)
    else:
        changed = torch.ones(len(values), dtype=torch.bool, device=values.device)
    changed[1:] = values[1:] != values[:-1]
    return changed


def nonzero(values: Num[Array, " n"]) -> Int64[Array, " k"]:
    """Indices of the values that are not 0."""
    return np.flatnonzero(values) if isinstance(values, np.ndarray) else values.nonzero().squeeze(1)


def repeat(values: Num[Array, " n"], times: Int64[Array, " n"]) -> Num[Array, " k"]:
    """Each value repeated the given number of times."""
    return np.repeat(values, times) if isinstance(values, np.ndarray) else values.repeat_interleave(times)


def where(condition: Bool[Array, " n"], yes: Num[Array, " n"], no: Num[Array, " n"]) -> Num[Array, " n"]:
    """`yes` where the condition holds, else `no`."""
    return np.where(condition, yes, no) if isinstance(condition, np.ndarray) else torch.where(condition, yes, no)


def ranks(values: Int64[Array, " n"]) -> tuple[Int64[Array, " n"], int]:
    """Rank of each value among the distinct values, and the number of distinct values."""
    unique = np.unique if isinstance(values, np.ndarray) else torch.unique
    distinct, rank = unique(values, return_inverse=True)
    return rank, len(distinct)


def sum_by(group: Int64[Array, " n"], n_groups: int, values: Num[Array, " n"]) -> Float64[Array, " g"]:
    """Sum of the values of each group; exact, in any order, for whole numbers up to 2**53."""
    if isinstance(group, np.ndarray):
        return np.bincount(group, values, n_groups)
    return torch.zeros(n_groups, dtype=torch.float64, device=group.device).index_add_(0, group, values.double())


def max_by(
    group: Int64[Array, " n"], n_groups: int, values: Float64[Array, " n"], *, least: float
) -> Float64[Array, " g"]:
    """Largest value of each group, but at least `least`."""
    if isinstance(group, np.ndarray):
        largest = np.full(n_groups, float(least))
        np.maximum.at(largest, group, values)
        return largest
    start = torch.full((n_groups,), float(least), dtype=torch.float64, device=group.device)
    return start.scatter_reduce(0, group, values, "amax")
