"""Simulated folds on disk, in PanNuke's official layout, each with a file that marks it as simulated."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cellvit.data.pannuke import SIMULATED_MARK, FoldFiles, fold_files
from cellvit.data.simulate.tile import SimulatedTile, simulate_tile
from cellvit.errors import ContractError
from cellvit.formats.atomic import replacing, write_text
from cellvit.formats.digests import sha256_of
from cellvit.taxonomy import BACKGROUND_CHANNEL, ORGANS, TILE_PX

GENERATOR_VERSION: Final = 1  # increased with every change that gives other images from the same seed
EMPTY_SHARE: Final = 0.03  # share of tiles without a nucleus; PanNuke has 4 % (343 of 7901)

_NOTICE: Final = (
    "Simulated by cellvit simulate_pannuke: no patient, no tissue. Values from it say nothing about real data."
)


class Plan(NamedTuple):
    """What to simulate in one row of a fold."""

    organ: str
    empty: bool


def write_fold(
    root: Path, fold: int, *, tiles_per_fold: int, seed: int, progress: Callable[[int], None] = lambda _: None
) -> FoldFiles:
    """Write "Fold N" to `root`, tile by tile, and call `progress` after each with the number of tiles so far.

    The same seed, fold and number of tiles give the same files. The mark is written before the arrays, so that no
    simulated array exists without it; arrays of an earlier simulation are replaced.

    Raises:
        ContractError: The fold has arrays without the mark: these may be real data, which are never overwritten.
    """
    files = fold_files(root, fold)
    _refuse_real_data(files)
    plans = plan_fold(fold, tiles_per_fold=tiles_per_fold, seed=seed)
    shape = (tiles_per_fold, TILE_PX, TILE_PX)
    create = np.lib.format.open_memmap
    with ExitStack() as stack:
        parts = {name: stack.enter_context(replacing(path)) for name, path in files.by_name.items()}
        with parts["types"].open("wb") as types:  # np.save given a path would append ".npy"
            np.save(types, np.array([plan.organ for plan in plans]))
        images = create(parts["images"], mode="w+", dtype=np.float64, shape=(*shape, 3))
        masks = create(parts["masks"], mode="w+", dtype=np.float64, shape=(*shape, BACKGROUND_CHANNEL + 1))
        for row, plan in enumerate(plans):
            images[row], masks[row] = make_tile(plan, fold, row, seed=seed)
            progress(row + 1)
        images.flush()
        masks.flush()
        record = {
            "simulated": True,
            "notice": _NOTICE,
            "generator_version": GENERATOR_VERSION,
            "fold": fold,
            "tiles": tiles_per_fold,
            "seed": seed,
            "sha256": {f"{name}.npy": sha256_of(part) for name, part in sorted(parts.items())},
        }
        write_text(files.mark, json.dumps(record, indent=1) + "\n")
    return files


def plan_fold(fold: int, *, tiles_per_fold: int, seed: int) -> tuple[Plan, ...]:
    """Organ of every row, in random order: organs are equally frequent (up to one tile); a few rows have no nucleus."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(fold,)))
    rounds = [rng.permutation(ORGANS) for _ in range(-(-tiles_per_fold // len(ORGANS)))]
    organs = rng.permutation(np.concatenate(rounds)[:tiles_per_fold])
    n_empty = max(round(EMPTY_SHARE * tiles_per_fold), int(tiles_per_fold >= len(ORGANS)))
    empty = set(rng.choice(tiles_per_fold, n_empty, replace=False).tolist())
    return tuple(Plan(str(organ), row in empty) for row, organ in enumerate(organs))


def make_tile(plan: Plan, fold: int, row: int, *, seed: int) -> SimulatedTile:
    """The tile in one row of a fold; it depends on the arguments alone."""
    stream = np.random.SeedSequence(seed, spawn_key=(fold, row))
    return simulate_tile(plan.organ, np.random.default_rng(stream), empty=plan.empty)


def _refuse_real_data(files: FoldFiles) -> None:
    present = [str(path) for path in files.by_name.values() if path.exists()]
    if present and not files.simulated:
        raise ContractError(
            f"{files.mark.parent}: expected no arrays, or simulated arrays with the mark {SIMULATED_MARK}, "
            f"found {', '.join(present)} without that mark. They may be real data and are not overwritten. "
            "Fix: choose another folder, or move them away."
        )
