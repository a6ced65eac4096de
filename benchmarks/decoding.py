"""Quality of the nuclei of each watershed method: on perfect maps, on degraded maps, and on maps of trained decoders.

    python benchmarks/decoding.py results/real_tiles [--split 1]

Perfect maps come from the tile stores of a finished run. Degraded maps are blurred by one pixel and contain noise that
is correlated between neighbouring pixels; both methods decode them with their default parameters. The decoders of the
run are applied to their validation folds, where each method uses the best parameters of the run's grid; the difference
is paired by tile. Metrics are means over tiles, times are medians over tiles on one thread.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32

from cellvit.config.evaluation import WatershedSettings
from cellvit.evaluation.tuning import grid_of
from cellvit.formats.documents import read_document
from cellvit.formats.features import open_family_features
from cellvit.formats.tiles import open_targets, open_tiles
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import METHODS, Watershed, method_of, segment_grid
from cellvit.hover.upper_bound import perfect_maps
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.metrics.contingency import contingency
from cellvit.metrics.intervals import bootstrap_mean
from cellvit.metrics.overlap import aji_of, panoptic_of

NOISES = (0.0, 0.1, 0.2, 0.3)
BLUR_PX, SHARED_PX = 1.0, 2.0


class Maps(NamedTuple):
    """Ground truth of a tile and predicted maps."""

    truth: Int32[np.ndarray, "h w"]
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="output folder of a finished run")
    parser.add_argument("--split", default="1", help="split whose decoders are measured")
    parser.add_argument(
        "--every", type=int, default=1, help="use every n-th tile of the folds (degraded and perfect maps)"
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    print("| maps | tiles | method | AJI | PQ | nuclei predicted / true | ms a tile |\n|---|---|---|---|---|---|---|")
    for name, kind in tiles_of(args.results, args.every).items():
        defaults = [parameters() for parameters in METHODS.values()]
        print_methods(f"perfect, {name}", [perfect(truth) for truth in kind], defaults)
        for noise in NOISES:
            rng = np.random.default_rng(0)
            print_methods(
                f"blurred, noise {noise:g}, {name}", [degraded(truth, noise, rng) for truth in kind], defaults
            )
    print(
        "\n| decoder, validation | tiles | hovernet AJI | hv_flow AJI | difference | hovernet PQ | hv_flow PQ | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for path in sorted((args.results / f"watershed/split{args.split}").glob("*.json")):
        print_decoder(args.results, args.split, read_document(path, WatershedChoice))


def tiles_of(results: Path, every: int) -> dict[str, list[Int32[np.ndarray, "h w"]]]:
    """Instance maps of all folds; colon separately, because its nuclei are densest in the real tiles."""
    kinds: dict[str, list[Int32[np.ndarray, "h w"]]] = {"Colon": [], "other organs": []}
    for path in sorted((results / "tiles").glob("fold*.h5")):
        with open_tiles(path) as store:
            rows = np.arange(0, len(store), every)
            organs = np.array(store.names("organ"))[rows]
            for organ, truth in zip(organs, store.read("instances", rows), strict=True):
                kinds["Colon" if organ == "Colon" else "other organs"].append(truth)
    return {name: truths for name, truths in kinds.items() if truths}


def perfect(truth: Int32[np.ndarray, "h w"]) -> Maps:
    return Maps(truth, *perfect_maps(truth))


def degraded(truth: Int32[np.ndarray, "h w"], noise: float, rng: np.random.Generator) -> Maps:
    def degrade(plane: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        shared = cv2.GaussianBlur(rng.normal(size=plane.shape).astype(np.float32), (0, 0), SHARED_PX)
        return cv2.GaussianBlur(plane, (0, 0), BLUR_PX) + np.float32(noise) * shared / shared.std()

    maps = perfect_maps(truth)
    return Maps(truth, degrade(maps.np_prob).clip(0, 1), np.stack([degrade(plane) for plane in maps.hv]))


def print_methods(name: str, maps: list[Maps], grid: Iterable[Watershed]) -> None:
    for watershed in grid:
        scores = scores_of(maps, [watershed])[:, 0]
        aji, pq, n_predicted, n_true = np.nanmean(scores[:, :4], axis=0).tolist()
        seconds = float(np.median(scores[:, 4]))
        print(
            f"| {name} | {len(maps)} | {method_of(watershed)} | {aji:.3f} | {pq:.3f} "
            f"| {n_predicted:.1f} / {n_true:.1f} | {1000 * seconds:.1f} |",
            flush=True,
        )


def scores_of(maps: Iterable[Maps], grid: list[Watershed]) -> Float64[np.ndarray, "n p 5"]:
    """AJI, PQ, number of predicted and of true nuclei, and seconds, of each tile with each point of the grid."""

    def score(one: Maps) -> Iterator[tuple[float, float, int, int, float]]:
        before = time.perf_counter()
        for _, found in segment_grid(one.np_prob, one.hv, grid):
            seconds = time.perf_counter() - before
            table = contingency(one.truth, found)
            yield aji_of(table), panoptic_of(table).pq, len(table.predicted_area), len(table.true_area), seconds
            before = time.perf_counter()

    return np.array([list(score(one)) for one in maps])


def print_decoder(results: Path, split: str, choice: WatershedChoice) -> None:
    if choice.status != "tuned":
        return
    grid = list(grid_of(WatershedSettings.model_validate_json(json.dumps(choice.provenance.settings["watershed"]))))
    maps = list(validation_maps(results, split, choice))
    scores = scores_of(maps, grid)
    best = {method: best_of(scores, grid, lambda point, m=method: method_of(point) == m) for method in METHODS}
    cells = [f"| {choice.family} | {len(maps)} "]
    for metric in (0, 1):
        values = [scores[:, best[method], metric] for method in ("hovernet", "hv_flow")]
        lead = bootstrap_mean(values[1] - values[0], rng=np.random.default_rng(0))
        means = " | ".join(f"{np.nanmean(column):.3f}" for column in values)
        cells.append(f"| {means} | {lead.value:+.3f} ({lead.low:+.3f} to {lead.high:+.3f}) ")
    print("".join(cells) + "|", flush=True)


def best_of(scores: Float64[np.ndarray, "n p 5"], grid: list[Watershed], wanted: Callable[[Watershed], bool]) -> int:
    """Index of the point of best AJI among the wanted ones."""
    means = np.nanmean(scores[:, :, 0], axis=0)
    return max((place for place, point in enumerate(grid) if wanted(point)), key=lambda place: means[place])


def validation_maps(results: Path, split: str, choice: WatershedChoice) -> Iterator[Maps]:
    decoder = load_decoder(
        results / f"checkpoints/split{split}/hovernet_{choice.family}.safetensors", torch.device("cpu")
    )
    folder = results / f"families/{choice.family}"
    with open_family_features(folder / "features.h5") as features, open_targets(folder / "targets.h5") as targets:
        rows = targets.rows_of_folds(choice.provenance.settings["validate_folds"])
        for batch in predict_maps(decoder, features, targets, rows):
            yield from map(Maps, batch.tiles.instances, batch.np_prob, batch.hv)


if __name__ == "__main__":
    main()
