"""The search of `tune_watershed` compared with the full grid, and maps in half precision with maps in single precision.

    python benchmarks/tuning.py results/real_tiles [--split 1] [--families all digestive] [--every 1]

For each decoder of a finished run, its maps of the validation tiles are tuned twice in the same process: by the search, and by
every combination of the listed values on all tiles, decoded tile by tile with all shared steps shared. Times are processor
times. The difference of the chosen points is paired by tile, with its 95 % interval over tiles. Degraded perfect maps of all
tiles of the run follow, as benchmarks/decoding.py makes them. Last, the search is repeated on the maps rounded to float16.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from decoding import NOISES, degraded, full_grid
from jaxtyping import Float64

from cellvit.config.evaluation import SelectBy, WatershedSettings
from cellvit.evaluation.selection import MapsOfTile, values_of_maps
from cellvit.evaluation.tuning import SEARCHED, Trial, Trials, spaces_of, tuned
from cellvit.formats.checkpoints import read_header
from cellvit.formats.family import open_family
from cellvit.formats.tiles import open_tiles
from cellvit.hover.decode import Watershed, method_of
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.predictions import Segmentation
from cellvit.metrics.intervals import interval_of_mean

HEADER: Final = "| maps | tiles | metric | full grid | search | difference | ms per tile, full grid | search | ratio | point of the search |"


class Tiles:
    """Maps of tiles in memory, decoded with the points of each trial; counts the processor time."""

    def __init__(self, tiles: list[MapsOfTile], organs: Sequence[str], select_by: SelectBy) -> None:
        self.tiles, self.organs, self.select_by = tiles, np.array(organs, object), select_by
        self.seconds = 0.0

    def trials(self) -> Trials[Watershed]:
        self.seconds = 0.0
        return Trials(self.select_by, self._compute, self.organs)

    def _compute(self, trials: Sequence[Trial[Watershed]]) -> Iterator[Float64[np.ndarray, " p"]]:
        for row, points in trials:
            start = time.process_time()
            values = values_of_maps(self.select_by, self.tiles[row]._replace(points=points))
            self.seconds += time.process_time() - start
            yield values

    def rounded(self) -> "Tiles":
        """The same maps after storage in half precision."""
        half = [one._replace(np_prob=_half(one.np_prob), hv=_half(one.hv)) for one in self.tiles]
        return Tiles(half, self.organs.tolist(), self.select_by)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="output folder of a finished run")
    parser.add_argument("--split", default="1", help="split whose decoders are used")
    parser.add_argument("--families", nargs="+", default=["all", "digestive", "glandular"], help="decoders to use")
    parser.add_argument("--select-by", nargs="+", default=["bpq"], choices=["bpq", "mpq", "aji"], help="metrics")
    about = "degraded perfect maps, by the standard deviation of their noise"
    parser.add_argument("--noises", nargs="*", type=float, default=NOISES[1:], help=about)
    parser.add_argument("--every", type=int, default=2, help="use every n-th tile for degraded maps")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"{HEADER}\n{'|---' * 10}|", flush=True)
    for select_by in args.select_by:
        for family in args.families:
            maps, organs, _ = validation_maps(args.results, args.split, family)
            compare(family, Tiles(maps, organs, select_by))
        for noise in args.noises:
            compare(f"perfect, noise {noise:g}", Tiles(*degraded_maps(args.results, noise, args.every), select_by))


def compare(name: str, tiles: Tiles) -> None:
    """Print one row of the table."""
    settings, everything = WatershedSettings(), np.arange(len(tiles.tiles))
    search = tiles.trials()
    found = tuned(spaces_of(settings), search)[0]
    search_s = tiles.seconds
    full = tiles.trials()
    grid = full_grid(settings)
    means = full.means(grid, everything)
    best, full_s = grid[int(np.nanargmax(means))], tiles.seconds
    change = interval_of_mean(search.of(found.point) - full.of(best), scale="real")
    n, row_ms = len(tiles.tiles), 1000 / len(tiles.tiles)
    ends = "no interval" if math.isnan(change.low) else f"{change.low:+.4f} to {change.high:+.4f}"
    cells = (
        *(name, n, tiles.select_by, f"{np.nanmax(means):.4f}", f"{found.value.value:.4f}"),
        f"{change.value:+.4f} ({ends})",
        *(f"{full_s * row_ms:.1f}", f"{search_s * row_ms:.1f}", f"{search_s / full_s:.2f}", shown(found.point)),
    )
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    half = tiles.rounded().trials()
    value = float(half.means([found.point], everything)[0])
    same = tuned(spaces_of(settings), half)[0].point == found.point
    changed = int((np.nan_to_num(half.of(found.point)) != np.nan_to_num(search.of(found.point))).sum())
    print(
        f"| {name}, float16 | {n} | {tiles.select_by} | | {value:.4f} | {value - found.value.value:+.5f}, "
        f"{changed} tiles differ | | | | {'same point' if same else 'another point'} |",
        flush=True,
    )


def shown(point: Watershed) -> str:
    method = method_of(point)
    return f"{method} " + " ".join(f"{getattr(point, name):g}" for name in SEARCHED[method])


def validation_maps(results: Path, split: str, family: str) -> tuple[list[MapsOfTile], list[str], list[str]]:
    """Maps of the validation tiles of a family, their organs and their patients."""
    checkpoint = results / f"checkpoints/split{split}/hovernet_{family}.safetensors"
    folds = read_header(checkpoint).folds["validate"]
    decoder = load_decoder(checkpoint, torch.device("cpu"))
    files = (
        [results / f"{kind}/fold{fold}.h5" for fold in folds] for kind in (f"families/{family}", "tiles", "features")
    )
    tiles: list[MapsOfTile] = []
    organs: list[str] = []
    patients: list[str] = []
    with open_family(*files) as data:
        for batch in predict_maps(decoder, data.features, data.tiles, data.rows_of_folds(folds)):
            truths = map(Segmentation, batch.tiles.instances, batch.tiles.classes)
            nt_class = batch.nt_prob.argmax(axis=1).astype(np.uint8)
            tiles += map(
                partial(MapsOfTile, points=(), n_classes=data.tiles.dataset.n_classes),
                truths,
                batch.np_prob,
                batch.hv,
                nt_class,
            )
            organs += batch.tiles.organ
            patients += batch.tiles.patient
    return tiles, organs, patients


def degraded_maps(results: Path, noise: float, every: int) -> tuple[list[MapsOfTile], list[str]]:
    """Perfect maps of the ground truth, blurred and noisy, with the true classes; and the organs."""
    rng, tiles, organs = np.random.default_rng(0), [], []
    for path in sorted((results / "tiles").glob("fold*.h5")):
        with open_tiles(path) as store:
            for row in range(0, len(store), every):
                truth = Segmentation(*(store.read(name, np.array([row]))[0] for name in ("instances", "classes")))
                maps = degraded(truth.instances, noise, rng)
                tiles.append(MapsOfTile(truth, maps.np_prob, maps.hv, truth.classes, (), store.dataset.n_classes))
                organs += store.names("organ", np.array([row]))
    return tiles, organs


def _half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    main()
