"""Decoding parameters that are searched on the validation tiles of few patients, tested on the tiles of all the others.

    python benchmarks/tuning_patients.py results/real_tiles [--split 1] [--family all] [--patients 1 2 3 5] [--sets 12]

For each number of patients, so many sets of them are drawn (for one patient, each is taken once). The parameters are searched on the
tiles of a set, and compared with those from which the search starts, of the same method, on the tiles of all other patients of the
validation folds: bPQ (mean over tiles, then organs). Nothing else is computed again: the maps are those of one decoder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Int64
from tuning import Tiles, validation_maps

from cellvit.config.evaluation import WatershedSettings
from cellvit.evaluation.tuning import Trials, spaces_of, tuned
from cellvit.hover.decode import Watershed

HEADER: Final = "| patients | sets | tiles in a set | bPQ, start | bPQ, searched | difference, mean | lowest | highest | worse sets |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="output folder of a finished run")
    parser.add_argument("--split", default="1", help="split whose decoder is used")
    parser.add_argument("--family", default="all", help="decoder to use; default: the shared decoder")
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 2, 3, 5], help="patients of a set")
    parser.add_argument("--sets", type=int, default=12, help="sets that are drawn for two patients or more")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    maps, organs, names = validation_maps(args.results, args.split, args.family)
    tiles, patients = Tiles(maps, organs, "bpq"), np.array(names)
    known, rng = np.unique(patients), np.random.default_rng(0)
    print(f"{HEADER}\n{'|---' * 9}|", flush=True)
    for n in args.patients:
        sets = [rng.choice(known, n, replace=False) for _ in range(args.sets)] if n > 1 else known[:, None]
        print(row_of(n, [np.isin(patients, of_set) for of_set in sets], tiles), flush=True)


def row_of(n: int, sets: Sequence[np.ndarray], tiles: Tiles) -> str:
    """One row of the table."""
    pairs = np.array([start_and_searched(tiles, np.flatnonzero(inside), np.flatnonzero(~inside)) for inside in sets])
    start, searched = pairs.mean(axis=0)
    change = pairs[:, 1] - pairs[:, 0]
    cells = (
        *(n, len(sets), f"{np.mean([inside.sum() for inside in sets]):.0f}", f"{start:.4f}", f"{searched:.4f}"),
        *(f"{change.mean():+.4f}", f"{change.min():+.4f}", f"{change.max():+.4f}", int((change < 0).sum())),
    )
    return f"| {' | '.join(map(str, cells))} |"


def start_and_searched(
    tiles: Tiles, inside: Int64[np.ndarray, " r"], outside: Int64[np.ndarray, " s"]
) -> tuple[float, float]:
    """bPQ on the tiles outside: with the start of the method that is found on the tiles inside, and with what is searched there."""
    spaces = spaces_of(WatershedSettings())
    found = tuned(spaces, searching(tiles, inside))[0].point  # without groups: tiles of one patient are searched too
    start = next(space.at(space.start) for space in spaces if space.kind is type(found))
    everything = np.arange(len(outside))
    before, after = searching(tiles, outside).means([start, found], everything)
    return float(before), float(after)


def searching(tiles: Tiles, rows: Int64[np.ndarray, " r"]) -> Trials[Watershed]:
    """Trials on some of the tiles."""
    return Tiles([tiles.tiles[row] for row in rows], tiles.organs[rows].tolist(), "bpq").trials()


if __name__ == "__main__":
    main()
