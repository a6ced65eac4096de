"""Quality of the decoded nuclei by method: from perfect maps, from degraded maps, and from maps of trained decoders.

    python benchmarks/decoding.py results/real_tiles [--split 1]

Perfect maps are computed from the ground truth in the tile stores of a finished run. Degraded maps are blurred by one pixel
and contain noise that is correlated between neighbouring pixels. Both methods decode them with their default parameters.
The decoders of the run predict their validation folds, where each method uses the best combination (by AJI) of the
listed values of its parameters; the differences are paired by tile. Metrics are means over tiles, times are medians over tiles on one thread.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32

from cellvit.config.evaluation import WatershedSettings
from cellvit.config.steps import TuneWatershedSettings
from cellvit.evaluation.tuning import SEARCHED
from cellvit.formats.documents import read_document
from cellvit.formats.family import open_family
from cellvit.formats.tiles import open_tiles
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import METHODS, Watershed, method_of, segment_grid
from cellvit.hover.upper_bound import perfect_maps
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.metrics.contingency import contingency
from cellvit.metrics.intervals import interval_of_mean
from cellvit.metrics.overlap import aji_of, panoptic_of

NOISES: Final = (0.0, 0.1, 0.2, 0.3)
BLUR_PX, CORRELATED_PX = 1.0, 2.0


class Maps(NamedTuple):
    """Ground truth and maps of a tile."""

    truth: Int32[np.ndarray, "h w"]
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="output folder of a finished run")
    parser.add_argument("--split", default="1", help="split whose decoders are used")
    parser.add_argument("--every", type=int, default=1, help="use every n-th tile for perfect and degraded maps")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print_maps(args.results, args.every)
    print_decoders(args.results, args.split)


def print_maps(results: Path, every: int) -> None:
    """Print the table of perfect and degraded maps."""
    print("| maps | tiles | method | AJI | PQ | nuclei predicted / true | ms per tile |\n" + "|---" * 7 + "|")
    for name, truths in tiles_of(results, every).items():
        print_methods(f"perfect, {name}", [Maps(truth, *perfect_maps(truth)) for truth in truths])
        for noise in NOISES:
            rng = np.random.default_rng(0)
            maps = [degraded(truth, noise, rng) for truth in truths]
            print_methods(f"blurred, noise {noise:g}, {name}", maps)


def tiles_of(results: Path, every: int) -> dict[str, list[Int32[np.ndarray, "h w"]]]:
    """Instance maps of all folds; colon separately, because its nuclei are densest in the real tiles."""
    groups: dict[str, list[Int32[np.ndarray, "h w"]]] = {"Colon": [], "other organs": []}
    for path in sorted((results / "tiles").glob("fold*.h5")):
        with open_tiles(path) as store:
            rows = np.arange(0, len(store), every)
            for organ, truth in zip(store.names("organ", rows), store.read("instances", rows), strict=True):
                groups["Colon" if organ == "Colon" else "other organs"].append(truth)
    return {name: truths for name, truths in groups.items() if truths}


def degraded(truth: Int32[np.ndarray, "h w"], noise: float, rng: np.random.Generator) -> Maps:
    def degrade(plane: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        correlated = cv2.GaussianBlur(rng.normal(size=plane.shape).astype(np.float32), (0, 0), CORRELATED_PX)
        return cv2.GaussianBlur(plane, (0, 0), BLUR_PX) + np.float32(noise) * correlated / correlated.std()

    maps = perfect_maps(truth)
    return Maps(truth, degrade(maps.np_prob).clip(0, 1), np.stack([degrade(plane) for plane in maps.hv]))


def print_methods(name: str, maps: list[Maps]) -> None:
    for method, parameters in METHODS.items():
        scores = scores_of(maps, [parameters()])[:, 0]
        aji, pq, n_predicted, n_true = np.nanmean(scores[:, :4], axis=0).tolist()
        print(
            f"| {name} | {len(maps)} | {method} | {aji:.3f} | {pq:.3f} | {n_predicted:.1f} / {n_true:.1f} "
            f"| {1000 * np.median(scores[:, 4]):.1f} |",
            flush=True,
        )


def scores_of(maps: Iterable[Maps], grid: Sequence[Watershed]) -> Float64[np.ndarray, "n p 5"]:
    """AJI, PQ, numbers of predicted and of true nuclei, and seconds, of each tile with each point of the grid."""

    def score(one: Maps) -> Iterator[tuple[float, float, int, int, float]]:
        start = time.perf_counter()
        for _, prediction in segment_grid(one.np_prob, one.hv, grid):
            seconds = time.perf_counter() - start
            table = contingency(one.truth, prediction)
            yield aji_of(table), panoptic_of(table).pq, len(table.predicted_area), len(table.true_area), seconds
            start = time.perf_counter()

    return np.array([list(score(one)) for one in maps])


def print_decoders(results: Path, split: str) -> None:
    """Print the table of trained decoders, of each family whose parameters were tuned."""
    columns = (f"hovernet {metric} | hv_flow {metric} | difference" for metric in ("AJI", "PQ"))
    print(f"\n| decoder, validation | tiles | {' | '.join(columns)} |\n" + "|---" * 8 + "|")
    for path in sorted((results / f"watershed/split{split}").glob("*.json")):
        choice = read_document(path, WatershedChoice)
        if choice.status == "tuned":
            print_decoder(results, choice)


def print_decoder(results: Path, choice: WatershedChoice) -> None:
    grid = full_grid(TuneWatershedSettings.model_validate(choice.provenance.settings).watershed)
    scores = scores_of(validation_maps(results, choice), grid)
    best = {method: best_of(scores, grid, lambda point, m=method: method_of(point) == m) for method in METHODS}
    cells = [choice.family, str(len(scores))]
    for metric in (0, 1):
        values = [scores[:, best[method], metric] for method in ("hovernet", "hv_flow")]
        change = interval_of_mean(values[1] - values[0], scale="real")
        cells += [f"{np.nanmean(column):.3f}" for column in values]
        cells += [f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})"]
    print(f"| {' | '.join(cells)} |", flush=True)


def full_grid(settings: WatershedSettings) -> tuple[Watershed, ...]:
    """Every combination of the listed values of each method."""
    return tuple(
        METHODS[method](**dict(zip(SEARCHED[method], values, strict=True)))
        for method in settings.method
        for values in product(*(getattr(settings, name) for name in SEARCHED[method]))
    )


def best_of(
    scores: Float64[np.ndarray, "n p 5"], grid: Sequence[Watershed], wanted: Callable[[Watershed], bool]
) -> int:
    """Index of the best mean AJI among the wanted points of the grid."""
    means = np.nanmean(scores[:, :, 0], axis=0)
    return max((place for place, point in enumerate(grid) if wanted(point)), key=lambda place: means[place])


def validation_maps(results: Path, choice: WatershedChoice) -> Iterator[Maps]:
    checkpoint = results / f"checkpoints/split{choice.split}/hovernet_{choice.family}.safetensors"
    decoder = load_decoder(checkpoint, torch.device("cpu"))
    folds = decoder.header.folds["validate"]
    files = (
        [results / f"{kind}/fold{fold}.h5" for fold in folds]
        for kind in (f"families/{choice.family}", "tiles", "features")
    )
    with open_family(*files) as data:
        for batch in predict_maps(decoder, data.features, data.tiles, data.rows_of_folds(folds)):
            yield from map(Maps, batch.tiles.instances, batch.np_prob, batch.hv)


if __name__ == "__main__":
    main()
