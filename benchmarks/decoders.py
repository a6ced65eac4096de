"""What each variant of the decoder costs, and the quality that it reaches on tiles that are kept back.

    python benchmarks/decoders.py                                  # costs with the layout of H-optimus-0; --blocks 4
    python benchmarks/decoders.py --run results/real_tiles --configfile profiles/real_tiles/settings.yaml \
        --config 'training={steps: 500}' --seeds 0 1 2             # costs and quality

The variants are changes of the settings `decoder` (of config.yaml, or of the given files); the first is without change.
Costs: parameters, the operations of a forward pass (a multiplication and an addition count as two), and the time of a
forward pass and of one with its backward pass, as a ratio to the first variant in the same round (median of the rounds).
On a CPU the times are processor times of one thread.

Quality, with the tiles and features of a finished run: each variant is trained with every seed on the fold `--train`, with
the settings `training`, and the weights after the last step predict the fold `--test`. No tile selects anything, and the
maps are decoded by HoVer-Net's watershed with its default parameters. Values are means over the seeds, with their range
in brackets. Differences from the first variant are paired by tile, with 95 % intervals over patients where they are
known. `--train-source` and `--test-source` keep the tiles of this source (sources.npy; `benchmarks/real_folds.py` writes
CoNSeP or MoNuSeg): so a decoder can be judged on another laboratory. Classes are annotated in CoNSeP alone.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from cellvit.config.files import add_settings_arguments, given_settings
from cellvit.config.models import DecoderSettings
from cellvit.config.settings import Settings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.system_scores import scores_of_maps
from cellvit.evaluation.values import differences, map_sums_of
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.provenance import Provenance
from cellvit.formats.tile_table import TEXTS, TileScores
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.inference.blocks import encoder_record
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import predict_maps
from cellvit.inference.parallel import workers
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.models.device import half_precision, resolve_device
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import TILE_MPP, TILE_PX
from cellvit.training.hovernet import RowsByRole, architecture_of, blocks_read, fit_decoder
from cellvit.training.trainable import as_tensors

FAMILY: Final = "all"
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
        "full_2": full_2,
        "full_4": full_4,
        "full_2_wide_stem": full_2 | wider,
        "branches": branches,
        "branches_full_2": branches | full_2,
        "branches_full_4": branches | full_4,
        "pixel_shuffle": {"upsampling": "pixel_shuffle"},
        "pixel_shuffle_full_2": {"upsampling": "pixel_shuffle"} | full_2,
    }


class Experiment(NamedTuple):
    """Tiles and settings that all trainings share."""

    data: FamilyData
    rows: RowsByRole
    test: np.ndarray
    settings: Settings
    device: torch.device
    threads: int

    def scores(self, changes: Changes, seed: int) -> TileScores:
        """Scores of the tiles that are kept back, after a training of the variant."""
        decoder = changed(self.settings.decoder, changes)
        settings = TrainHovernetSettings(decoder=decoder, training=self.settings.training, seed=seed)
        model = fit_decoder(self.data, self.rows, settings, device=self.device, threads=self.threads)
        architecture = architecture_of(decoder, self.data.features)
        module = HoVerNetDecoder(**architecture)
        module.load_state_dict(as_tensors(model.weights))
        blocks = {"blocks": list(blocks_read(decoder, self.data.features))}
        header = CheckpointHeader(
            provenance=Provenance(),
            kind="hovernet",
            split="benchmark",
            status="trained",
            architecture=architecture,
            encoder=encoder_record(self.data.features) | blocks,
            mpp=TILE_MPP,
        )
        loaded = Loaded(module.to(self.device).eval(), header, self.device)
        with workers(self.threads, len(self.test)) as pool:
            maps = predict_maps(loaded, self.data.features, self.data.tiles, self.test)
            return scores_of_maps(maps, HoverNetWatershed(), family=FAMILY, pool=pool)


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    settings, device = given_settings(args), resolve_device(args.device)
    chosen = variants(settings.decoder)
    chosen = {name: changes for name, changes in chosen.items() if name in (args.variants or chosen)}
    with opened(args, settings, device) as experiment:
        architectures = [architecture_for(args, settings, changes, experiment) for changes in chosen.values()]
        costs = costs_of(architectures, args.rounds, args.batch, device)
        columns = ("variant", "changed settings", *COST_COLUMNS)
        if experiment is not None:
            print(f"{len(experiment.rows.train)} training tiles, {len(experiment.test)} tiles kept back\n")
            columns += (*QUALITY_COLUMNS, "NT accuracy")
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
        first: TileScores | None = None
        for (name, changes), cost in zip(chosen.items(), costs, strict=True):
            cells = [name, _yaml(changes), *cost]
            if experiment is not None:
                runs = [experiment.scores(changes, seed) for seed in args.seeds]
                first = first or mean_of(runs)
                cells += quality_cells(runs, first)
            print(f"| {' | '.join(cells)} |", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_settings_arguments(parser)
    parser.add_argument("--variants", nargs="+", choices=variants(DecoderSettings()), help="default: all of them")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    costs = parser.add_argument_group("costs")
    costs.add_argument("--dim", type=int, default=1536, help="width of a token; with --run, that of the features")
    costs.add_argument("--blocks", type=int, default=1, help="blocks that the decoder reads, likewise")
    costs.add_argument("--batch", type=int, default=2, help="tiles per pass")
    costs.add_argument("--rounds", type=int, default=7, help="measurements of the times, after one that is not counted")
    quality = parser.add_argument_group("quality")
    quality.add_argument("--run", type=Path, help="output folder of a finished run, whose features are used")
    quality.add_argument("--train", type=int, nargs="+", default=[1], help="folds that train")
    quality.add_argument("--test", type=int, nargs="+", default=[3], help="folds that are kept back")
    quality.add_argument(
        "--train-source", default="", metavar="NAME", help="source of the tiles that train; default: all"
    )
    quality.add_argument("--test-source", default="", metavar="NAME", help="source of the test tiles; default: all")
    quality.add_argument("--seeds", type=int, nargs="+", default=[0])
    return parser.parse_args()


@contextmanager
def opened(args: argparse.Namespace, settings: Settings, device: torch.device) -> Iterator[Experiment | None]:
    """The tiles of the run; None if only costs are asked for."""
    if args.run is None:
        yield None
        return
    names = [f"fold{fold}.h5" for fold in sorted({*args.train, *args.test})]
    folders = (args.run / folder for folder in (f"families/{FAMILY}", "tiles", "features"))
    with open_family(*([folder / name for name in names] for folder in folders)) as data:
        train, test = (
            rows_of(data, folds, source)
            for folds, source in ((args.train, args.train_source), (args.test, args.test_source))
        )
        rows = RowsByRole(train, validate=test[:0])
        yield Experiment(data, rows, test, settings, device, args.threads)


def rows_of(data: FamilyData, folds: Sequence[int], source: str) -> np.ndarray:
    """Tiles of these folds that come from `source`; all of them where it is empty."""
    rows = data.rows_of_folds(folds)
    return rows[[source in ("", found) for found in data.tiles.names("source", rows)]]


def changed(base: DecoderSettings, changes: Changes) -> DecoderSettings:
    """The settings of a variant, checked."""
    return DecoderSettings.model_validate(base.model_dump() | dict(changes))


def architecture_for(
    args: argparse.Namespace, settings: Settings, changes: Changes, experiment: Experiment | None
) -> Architecture:
    """Arguments of the decoder of a variant."""
    decoder = changed(settings.decoder, changes)
    if experiment is not None:
        return architecture_of(decoder, experiment.data.features)
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
    with gradients, half_precision(device):
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
        interval = change[f"{name}_minus_first"]
        cells += [_spread([value[name] for value in values])]
        ends = "" if np.isnan(interval.low) else f" ({interval.low:+.3f} to {interval.high:+.3f})"
        cells += [f"{interval.value:+.3f}{ends}"]
    return [*cells, _spread([value["nt_accuracy"] for value in values])]


def values_of(tiles: TileScores) -> dict[str, float]:
    """AJI (mean over tiles), bPQ and mPQ (over tiles, then organs), NT accuracy on nuclei."""
    organs = {"aji": np.zeros(len(tiles), np.int64), "bpq": tiles.organs, "mpq": tiles.organs}
    values = {name: mean_over_organs(tiles.column(name), organs[name]) for name in PAIRED}
    return values | {"nt_accuracy": map_sums_of(tiles).value("nt_accuracy")}


def mean_of(runs: Sequence[TileScores]) -> TileScores:
    """Scores of the same tiles, averaged over the seeds."""
    texts = {name: runs[0].text(name) for name in TEXTS}
    return TileScores.of(texts, COLUMNS, np.mean([run.block(COLUMNS) for run in runs], axis=0))


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" + (f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else "")


def _yaml(changes: Changes) -> str:
    return "; ".join(f"`{name}: {json.dumps(value).strip(chr(34))}`" for name, value in changes.items())


if __name__ == "__main__":
    main()
