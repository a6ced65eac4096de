"""What each variant of the decoder costs, and the quality that it reaches on tiles that are kept back.

    python benchmarks/decoders.py                                  # costs with the layout of H-optimus-0; --blocks 4
    python benchmarks/decoders.py --run results/real_tiles --configfile profiles/real_tiles/settings.yaml \
        --config 'training={steps: 500}' --seeds 0 1 2             # costs and quality

The variants are changes of the settings `decoder` (of config.yaml, or of the given files); the first is without change.
Costs: parameters, the operations of a forward pass (a multiplication and an addition count as two), and the time of a
forward pass and of one with its backward pass, as a ratio to the first variant in the same round (median of the rounds).
On a CPU the times are processor times of one thread.

Quality, with the tiles and features of a finished run (`benchmarks/trainings.py` says how): the maps are decoded by HoVer-Net's
watershed with its default parameters. Values are means over the seeds, with their range in brackets. Differences from the
first variant are paired by tile, with 95 % intervals over patients where they are known. On the real tiles, classes are
annotated in CoNSeP alone.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from trainings import (
    Experiment,
    add_training_arguments,
    changed,
    difference_cell,
    mean_and_range,
    mean_of,
    opened,
    segmentation_means,
)

from cellvit.config.files import add_settings_arguments, given_settings
from cellvit.config.models import DecoderSettings
from cellvit.config.settings import Settings
from cellvit.evaluation.values import differences, map_sums_of
from cellvit.formats.tile_table import TileScores
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.models.device import autocast, resolve_device
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import TILE_PX
from cellvit.training.hovernet import architecture_of

PAIRED: Final = ("aji", "bpq", "mpq")
COST_COLUMNS: Final = ("parameters (M)", "GFLOP", "forward, ms", "ratio", "forward and backward, ms", "ratio")
QUALITY_COLUMNS: Final = tuple(column for name in ("AJI", "bPQ", "mPQ") for column in (name, "difference"))

Changes = Mapping[str, Any]
Architecture = dict[str, Any]


def variants(base: DecoderSettings) -> dict[str, Changes]:
    """Changes of the settings by the name of the variant."""
    *coarse, half, full = base.widths
    wider = {"stem_widths": [2 * width for width in base.stem_widths]}
    full_2 = {"widths": [*coarse, half, max(2, full // 2)]}
    full_4 = {"widths": [*coarse, max(2, half // 2), max(2, full // 4)]}
    normalised, dropped, branches = {"token_norm": "layer"}, {"token_dropout": 0.3}, {"trunk": "branches"}
    return {
        "default": {},
        "no_image": {"image_stem": "none"},
        "layer_norm": normalised,
        "token_dropout": dropped,
        "layer_norm_and_dropout": normalised | dropped,
        "narrow_projection": {"widths": [max(2, base.widths[0] // 4), *base.widths[1:]]},
        "wide_stem": wider,
        "wide_residual_stem": wider | {"image_stem": "rgb_residual"},
        "tile_colours": {"image_norm": "tile"},
        "full_2": full_2,
        "full_4": full_4,
        "full_2_wide_stem": full_2 | wider,
        "branches": branches,
        "branches_full_2": branches | full_2,
        "branches_full_4": branches | full_4,
        "pixel_shuffle": {"upsampling": "pixel_shuffle"},
        "pixel_shuffle_full_2": {"upsampling": "pixel_shuffle"} | full_2,
    }


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    settings, device = given_settings(args), resolve_device(args.device)
    chosen = variants(settings.decoder)
    chosen = {name: changes for name, changes in chosen.items() if name in (args.variants or chosen)}
    with opened(args) as experiment:
        architectures = [architecture_for(args, settings, changes, experiment) for changes in chosen.values()]
        costs = costs_of(architectures, args.rounds, args.batch, device)
        columns: tuple[str, ...] = ("variant", "changed settings", *COST_COLUMNS)
        if experiment is not None:
            print(f"{len(experiment.rows.train)} training tiles, {len(experiment.test)} tiles kept back\n")
            columns += (*QUALITY_COLUMNS, "NT accuracy")
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
        first: TileScores | None = None
        for (name, changes), cost in zip(chosen.items(), costs, strict=True):
            cells = [name, _yaml(changes), *cost]
            if experiment is not None:
                decoder = changed(settings.decoder, changes)
                trained = (experiment.trained(decoder, settings.training, seed) for seed in args.seeds)
                runs = [experiment.scores(one, HoverNetWatershed()) for one in trained]
                first = first or mean_of(runs)
                cells += quality_cells(runs, first)
            print(f"| {' | '.join(cells)} |", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_settings_arguments(parser)
    parser.add_argument("--variants", nargs="+", choices=variants(DecoderSettings()), help="default: all of them")
    costs = parser.add_argument_group("costs")
    costs.add_argument("--dim", type=int, default=1536, help="width of a token; with --run, that of the features")
    costs.add_argument("--blocks", type=int, default=1, help="blocks that the decoder reads, likewise")
    costs.add_argument("--batch", type=int, default=2, help="tiles per pass")
    costs.add_argument("--rounds", type=int, default=7, help="measurements of the times, after one that is not counted")
    add_training_arguments(parser.add_argument_group("quality"))
    return parser.parse_args()


def architecture_for(
    args: argparse.Namespace, settings: Settings, changes: Changes, experiment: Experiment | None
) -> Architecture:
    """Arguments of the decoder of a variant."""
    decoder = changed(settings.decoder, changes)
    if experiment is not None:
        return architecture_of(decoder, experiment.data.features, experiment.data.tiles.dataset.n_classes)
    return {"dim": args.dim, "blocks": args.blocks, **decoder.model_dump(exclude={"blocks"})}


def costs_of(architectures: Sequence[Architecture], rounds: int, batch: int, device: torch.device) -> list[list[str]]:
    """Cells of Markdown for each architecture, in the order of `COST_COLUMNS`; the rounds alternate between them."""
    decoders = [HoVerNetDecoder(**architecture).to(device) for architecture in architectures]
    ways = (False, True)  # without and with the backward pass
    times = np.array(
        [
            [[milliseconds(decoder, batch, device, backward=way) for way in ways] for decoder in decoders]
            for _ in range(rounds + 1)
        ]
    )[1:]  # (rounds, decoders, ways); the first round is not counted
    ratios, times = np.median(times / times[:, :1], axis=0), np.median(times, axis=0)
    return [
        [
            f"{sum(parameter.numel() for parameter in decoder.parameters()) / 1e6:.2f}",
            f"{gflop_of(decoder, device):.1f}",
            *(cell for ms, ratio in zip(*of_decoder, strict=True) for cell in (f"{ms:.1f}", f"{ratio:.2f}")),
        ]
        for decoder, *of_decoder in zip(decoders, times, ratios, strict=True)
    ]


def milliseconds(decoder: HoVerNetDecoder, batch: int, device: torch.device, *, backward: bool) -> float:
    """Time of one pass, in milliseconds a tile."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    inputs, gradients = inputs_of(decoder, batch, device), nullcontext() if backward else torch.inference_mode()
    decoder.train(backward)
    _wait(device)
    started = clock()
    with gradients, autocast(device):
        maps = decoder(*inputs)
        if backward:
            torch.stack([part.float().square().mean() for part in maps]).sum().backward()
    _wait(device)
    return 1000 * (clock() - started) / batch


def inputs_of(decoder: HoVerNetDecoder, batch: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens and an image, in the memory layout of a training batch."""
    tokens = torch.randn(batch, *decoder.token_shape, dtype=torch.float16, device=device)
    image = torch.randint(0, 256, (batch, TILE_PX, TILE_PX, 3), dtype=torch.uint8, device=device)
    return tokens, image.permute(0, 3, 1, 2)


def gflop_of(decoder: HoVerNetDecoder, device: torch.device) -> float:
    """Operations of the convolutions of a forward pass, in billions."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        decoder.eval()(*inputs_of(decoder, 1, device))
    return float(counter.get_total_flops()) / 1e9


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def quality_cells(runs: Sequence[TileScores], first: TileScores) -> list[str]:
    """Values and differences as cells of Markdown, in the order of `QUALITY_COLUMNS`, then NT accuracy."""
    values = [values_of(run) for run in runs]
    change, cells = differences(mean_of(runs), {"first": first}), []
    for name in PAIRED:
        cells += [mean_and_range([value[name] for value in values]), difference_cell(change[f"{name}_minus_first"])]
    return [*cells, mean_and_range([value["nt_accuracy"] for value in values])]


def values_of(tiles: TileScores) -> dict[str, float]:
    """AJI, bPQ and mPQ, and NT accuracy on nuclei."""
    return segmentation_means(tiles) | {"nt_accuracy": map_sums_of(tiles).value("nt_accuracy")}


def _yaml(changes: Changes) -> str:
    return "; ".join(f"`{name}: {json.dumps(value).strip(chr(34))}`" for name, value in changes.items())


if __name__ == "__main__":
    main()
