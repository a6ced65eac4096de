"""Folds of a data set that has none: whole patients are dealt, so that folds are alike in size, organs and classes.

Each patient in turn goes to the fold where the sum of squares of all shares of the folds (of tiles, of the tiles of each
organ, of the nuclei of each class) grows least, large and rare ones first, as scikit-learn's StratifiedGroupKFold does
for one class a sample. Several orders are tried, and the most even result is kept.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from cellvit.errors import SettingsError

FEWEST_FOLDS: Final = 3
"""One fold to train, one to validate and one to test."""

_ORDERS: Final = 8
"""Orders of the patients that are tried."""


@dataclass(frozen=True, slots=True)
class MadeFolds:
    """Folds that were made.

    Attributes:
        fold: Fold of each row, 1..k.
        warnings: Sentences for a person: organs and classes that are not in every fold.
    """

    fold: Int64[np.ndarray, " n"]
    warnings: tuple[str, ...]


def folds_of(
    groups: Sequence[str],
    organs: Sequence[str],
    class_counts: Int[np.ndarray, "n c"],
    *,
    k: int,
    seed: int,
    class_names: Sequence[str] = (),
) -> MadeFolds:
    """Deal rows (images or tiles) to `k` folds; rows of one group stay together.

    The result depends on names, counts, `k` and `seed`, not on the order of the rows.

    Args:
        groups: Patient or slide of each row; the name of the image where that is not known.
        organs: Organ of each row; empty where unknown.
        class_counts: Nuclei of each class in each row.
        class_names: Names of the classes for the warnings; their numbers from 1 where left out.

    Raises:
        SettingsError: `k` is below 3, or there are fewer groups than folds.
    """
    check_k(k)
    names, group = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    if len(names) < k:
        raise SettingsError(
            f"{k} folds need at least {k} patients, because all tiles of a patient must be in one fold; found {len(names)}: "
            f"{', '.join(names.tolist()) or 'none'}. Fix: ask for fewer folds (at least {FEWEST_FOLDS}), add patients, or "
            "name the fold of each image in tiles.csv."
        )
    organ_names, organ = np.unique(np.array(organs, dtype=np.str_), return_inverse=True)
    tables = [np.ones((len(group), 1)), np.eye(len(organ_names))[organ], class_counts]
    shares = np.hstack([_shares(group, table, len(names)) for table in tables])
    trials = [_dealt(shares, _order(shares, names.tolist(), seed, trial), k) for trial in range(_ORDERS)]
    fold_of_group = min(trials, key=lambda trial: _unevenness(shares, trial, k))  # the first of equals
    fold = _renamed(fold_of_group, k, seed)[group] + 1
    has = {f"organ {name}": organ == number for number, name in enumerate(organ_names.tolist()) if name}
    for number in range(class_counts.shape[1]):
        has[f"class {class_names[number] if class_names else number + 1}"] = class_counts[:, number] > 0
    return MadeFolds(fold, _warnings(fold, group, has, k))


def splits_for(k: int) -> dict[str, dict[str, list[int]]]:
    """Splits by name: each of `k` folds tests once and validates once; the others train.

    Examples:
        >>> splits_for(3)["1"], splits_for(3)["2"]
        ({'train': [1], 'validate': [2], 'test': [3]}, {'train': [2], 'validate': [3], 'test': [1]})

    Raises:
        SettingsError: `k` is below 3.
    """
    check_k(k)
    splits = {}
    for number in range(1, k + 1):
        validate, test = number % k + 1, (number + 1) % k + 1
        train = [fold for fold in range(1, k + 1) if fold not in {validate, test}]
        splits[str(number)] = {"train": train, "validate": [validate], "test": [test]}
    return splits


def check_k(k: int) -> None:
    """Refuse a number of folds that leaves a role empty.

    Raises:
        SettingsError: `k` is below 3.
    """
    if k < FEWEST_FOLDS:
        raise SettingsError(
            f"the number of folds must be at least {FEWEST_FOLDS}, found {k}: one fold trains, one chooses the epoch and the "
            "decoding, and one tests. Results on a fold that chose them would look better than they are. "
            f"Fix: ask for {FEWEST_FOLDS} folds or more."
        )


def _shares(
    group: Int64[np.ndarray, " n"], table: Int[np.ndarray, "n c"] | Float64[np.ndarray, "n c"], n_groups: int
) -> Float64[np.ndarray, "g c"]:
    """Share of each column that each group has, so that rare organs and classes weigh as much as frequent ones."""
    sums = np.zeros((n_groups, table.shape[1]))
    np.add.at(sums, group, table)
    shares: Float64[np.ndarray, "g c"] = sums / np.maximum(sums.sum(axis=0), 1)
    return shares


def _order(shares: Float64[np.ndarray, "g c"], names: Sequence[str], seed: int, trial: int) -> Int64[np.ndarray, " g"]:
    """Groups with large shares first, at random by up to a factor of 2; a name has its own random number."""
    texts = (f"{seed} {trial} {name}" for name in names)
    random = np.array([int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32 for text in texts])
    return np.argsort(-np.linalg.norm(shares, axis=1) * (1 + random), kind="stable")


def _dealt(shares: Float64[np.ndarray, "g c"], order: Int64[np.ndarray, " g"], k: int) -> Int64[np.ndarray, " g"]:
    """Fold of each group, 0..k-1; no fold stays empty."""
    fold, held, sizes = np.zeros(len(shares), np.int64), np.zeros((k, shares.shape[1])), np.zeros(k, np.int64)
    for place, group in enumerate(order.tolist()):
        growth = (2 * held + shares[group]) @ shares[group]
        empty = sizes == 0
        if len(order) - place <= np.count_nonzero(empty):
            growth[~empty] = np.inf
        chosen = int(np.lexsort((sizes, growth.round(12)))[0])
        fold[group] = chosen
        held[chosen] += shares[group]
        sizes[chosen] += 1
    return fold


def _unevenness(shares: Float64[np.ndarray, "g c"], fold: Int64[np.ndarray, " g"], k: int) -> float:
    held = np.stack([shares[fold == number].sum(axis=0) for number in range(k)])
    return round(float(np.square(held).sum()), 12)


def _renamed(fold: Int64[np.ndarray, " g"], k: int, seed: int) -> Int64[np.ndarray, " g"]:
    """The same folds with their numbers permuted, so that the first one is not always the largest."""
    renamed: Int64[np.ndarray, " g"] = np.random.default_rng(seed).permutation(k)[fold]
    return renamed


def _warnings(
    fold: Int64[np.ndarray, " n"], group: Int64[np.ndarray, " n"], has: Mapping[str, Bool[np.ndarray, " n"]], k: int
) -> tuple[str, ...]:
    """A sentence for each organ and class, given the rows that have it, that is not in every fold."""
    found = []
    for what, rows in has.items():
        missing = sorted(set(range(1, k + 1)) - set(fold[rows].tolist()))
        if not missing or not rows.any():
            continue
        patients = len(set(group[rows].tolist()))
        where = f"fold {missing[0]}" if len(missing) == 1 else f"folds {', '.join(map(str, missing))}"
        found.append(
            f"There is nothing of {what} in {where}: {patients} patient{'s have' if patients > 1 else ' has'} it, and there "
            f"are {k} folds. Values of {what} are undefined where such a fold tests."
        )
    return tuple(found)
