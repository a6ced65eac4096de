"""What the weights of the parts of the HV loss change: does the magnitude term help, and does the gradient term?

    python benchmarks/loss_weights.py --run results/real_tiles --configfile profiles/real_tiles/settings.yaml \\
        --config 'training={steps: 500, precision: bfloat16}' --seeds 0 1 2

Every row is one set of weights, trained with the same steps and seeds (`benchmarks/trainings.py` says on which tiles) and decoded by
both methods. The first row has the weights of the settings. Values are means over the seeds, with their range in brackets;
differences from the first row are paired by tile, averaged over the seeds, with 95 % intervals over patients. An interval
says nothing about other seeds: compare a difference with the ranges.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from trainings import (
    add_training_arguments,
    changed,
    difference_cell,
    mean_and_range,
    mean_of,
    opened,
    segmentation_means,
)

from cellvit.config.files import add_settings_arguments, given_settings
from cellvit.evaluation.values import differences, map_sums_of
from cellvit.formats.tile_table import TileScores
from cellvit.hover.decode import METHODS, Method

WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "default": {},
    "magnitude 0": {"hv_magnitude_weight": 0.0},
    "magnitude 0.25": {"hv_magnitude_weight": 0.25},
    "magnitude 2": {"hv_magnitude_weight": 2.0},
    "gradient 0.5": {"hv_gradient_weight": 0.5},
}
"""Changes of `training.loss` by the name of the row; the defaults are magnitude 1 and gradient 2."""

PAIRED: Final = ("aji", "bpq")
MAPS: Final = {"hv_skill": 3, "hv_angle": 1, "hv_length": 3}
"""Metrics of the maps, and their digits."""


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    settings = given_settings(args)
    columns = [
        f"{metric}, {method}" for method in METHODS for name in ("AJI", "bPQ") for metric in (name, "difference")
    ]
    with opened(args) as experiment:
        assert experiment is not None, "--run is required"
        print(f"{len(experiment.rows.train)} training tiles, {len(experiment.test)} tiles kept back\n")
        print(f"| weights | {' | '.join([*columns, *MAPS])} |\n{'|---' * (1 + len(columns) + len(MAPS))}|", flush=True)
        first: dict[Method, list[TileScores]] = {}
        for name in args.weights or WEIGHTS:
            training = changed(settings.training, {"loss": changed(settings.training.loss, WEIGHTS[name])})
            decoders = [experiment.trained(settings.decoder, training, seed) for seed in args.seeds]
            runs = {method: [experiment.scores(one, kind()) for one in decoders] for method, kind in METHODS.items()}
            first = first or runs
            cells = [cell for method, own in runs.items() for cell in quality_cells(own, first[method])]
            print(f"| {' | '.join([name, *cells, *map_cells(next(iter(runs.values())))])} |", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_settings_arguments(parser)
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, help="default: all of them")
    add_training_arguments(parser)
    args = parser.parse_args()
    if args.run is None:
        parser.error("--run is required: the output folder of a finished run")
    return args


def quality_cells(runs: Sequence[TileScores], first: Sequence[TileScores]) -> list[str]:
    """AJI and bPQ, each with its difference from the first row."""
    change, cells = differences(mean_of(runs), {"first": mean_of(first)}), []
    means = [segmentation_means(run) for run in runs]
    for name in PAIRED:
        cells += [mean_and_range([mean[name] for mean in means]), difference_cell(change[f"{name}_minus_first"])]
    return cells


def map_cells(runs: Sequence[TileScores]) -> list[str]:
    """HV skill, mean angle error in degrees and mean length; the decoding does not change them."""
    sums = [map_sums_of(run) for run in runs]
    return [mean_and_range([one.value(name) for one in sums], digits=digits) for name, digits in MAPS.items()]


if __name__ == "__main__":
    main()
