"""What flipped cached tokens lose against true views, and what a finer token grid gains, on annotated tiles.

    python ../shared/real_tiles/make_folds.py data/real_tiles
    python benchmarks/views.py data/real_tiles                                            # turned, stored, none
    python benchmarks/views.py data/real_tiles --ways none --input-px 224 336 448         # resolutions

Trains one decoder for each way and input size on fold 1, with the same seed, epochs and budget, and measures the last
epoch on fold 2 (no epoch is chosen; AJI and bPQ are means over tiles). Ways: turned (tokens of the upright tile turned
as a map of vectors), stored (tokens of the turned tile, `features.views: [dihedral8]`), none (no augmentation); image and
targets are turned alike in the first two.
`--organs` picks a family, `--stem none` takes the image away from the decoder, so that tokens must do all the work.

With random weights, the default, this says how a decoder copes with turned tokens of such an encoder. It says little
about a trained one: give `--preset h-optimus-0 --weights hub --device cuda` where its weights can be had.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cellvit.__main__ import main as cellvit
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.data.batches import decoder_batches, sequential_rows
from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import SCORE_COLUMNS, MapsTask, Truth, score_maps
from cellvit.formats.features import open_family_features
from cellvit.formats.tiles import open_targets
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.inference.blocks import stored_blocks, block_positions
from cellvit.inference.maps import as_map_batch, forward
from cellvit.metrics.intervals import bootstrap_mean
from cellvit.metrics.maps import MapSums
from cellvit.models.device import resolve_device
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import ORGANS
from cellvit.training.hovernet import FamilyData, architecture_of, fit_decoder

WAYS = {
    "turned": {"augment": True, "views": "turned"},
    "stored": {"augment": True, "views": "stored"},
    "none": {"augment": False},
}
TRAIN, VALIDATE = 1, 2
JUDGED = ("aji", "bpq")


@dataclass(frozen=True)
class Outcome:
    """Validation figures of one way, seeds averaged; `tiles` has a row of `JUDGED` for every tile."""

    label: str
    np_dice: float
    hv_skill: float
    tiles: np.ndarray


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    first: Outcome | None = None
    print("Each beside the first: difference on the same tiles, 95 % bootstrap interval over tiles\n")
    print("| input, views | n | AJI | difference | bPQ | difference | NP Dice | HV skill |\n" + "|---" * 8 + "|")
    with _folder(args.keep) as folder:
        prepare(args, folder)
        for input_px in args.input_px:
            extract(args, folder, input_px)
            for way in args.ways:
                outcome = measured(args, folder / f"{input_px}", way, input_px)
                first = first or outcome
                print(row(outcome, first), flush=True)
    if args.weights == "random":
        print("\nThe encoder has random weights: this says little about a trained one.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folds", type=Path, help='folder that holds "Fold 1" and "Fold 2" in PanNuke\'s layout')
    parser.add_argument("--organs", nargs="+", choices=ORGANS, default=list(ORGANS), help="a family; all if not given")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--input-px", type=int, nargs="+", default=[224], help="sides of the square the encoder sees")
    parser.add_argument("--stem", choices=("rgb", "none"), default="rgb", help="decoder.image_stem")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--widths", type=int, nargs=5, default=[96, 64, 48, 32, 16], help="decoder.widths")
    parser.add_argument("--preset", default="tiny-vit")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for tiles and features, which a second call takes up")
    return parser.parse_args()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """Tile stores of both folds."""
    for fold in (TRAIN, VALIDATE):
        tiles = folder / f"tiles{fold}.h5"
        if not tiles.exists():
            _step("prepare_fold", root=args.folds, fold=fold, tiles=tiles, summary=tiles.with_suffix(".json"))


def extract(args: argparse.Namespace, folder: Path, input_px: int) -> None:
    """Features of both folds at one input size, and the family over them."""
    views = ("dihedral8",) if "stored" in args.ways else ("identity",)
    settings = ExtractFeaturesSettings(
        encoder=EncoderSettings(preset=args.preset, weights=args.weights),
        features=FeaturesSettings(input_px=input_px, views=views),
    )
    made = folder / f"{input_px}"
    stores = {fold: (folder / f"tiles{fold}.h5", made / f"fold{fold}.h5") for fold in (TRAIN, VALIDATE)}
    for tiles, features in stores.values():
        given = {"settings": settings.model_dump_json(), "tiles": tiles, "features": features}
        if not features.exists():
            _step("extract_features", **given, device=args.device, threads=args.threads)
    _step(
        "gather_family",
        settings=json.dumps({"organs": args.organs}),
        family="benchmark",
        folds=(TRAIN, VALIDATE),
        fold_tiles=[tiles for tiles, _ in stores.values()],
        fold_features=[features for _, features in stores.values()],
        features=made / "features.h5",
        targets=made / "targets.h5",
    )


def measured(args: argparse.Namespace, made: Path, way: str, input_px: int) -> Outcome:
    """Train one way with every seed and measure the last epoch on the validation fold."""
    rows, sums = [], []
    with open_family_features(made / "features.h5") as features, open_targets(made / "targets.h5") as targets:
        taps = block_positions(features, stored_blocks(features))
        train, validate = targets.rows_of_folds([TRAIN]), targets.rows_of_folds([VALIDATE])
        data = FamilyData(features, targets, train, validate, taps)
        for seed in args.seeds:
            decoder = trained(args, data, way, seed)
            values, of_maps = judged(decoder, data, resolve_device(args.device))
            rows.append(values)
            sums.append(of_maps)
    return Outcome(
        f"{input_px} px, {way}",
        np_dice=float(np.mean([each.value("np_dice") for each in sums])),
        hv_skill=float(np.mean([each.value("hv_skill") for each in sums])),
        tiles=np.mean(rows, axis=0),
    )


def trained(args: argparse.Namespace, data: FamilyData, way: str, seed: int) -> HoVerNetDecoder:
    """The decoder after its last epoch."""
    settings = TrainHovernetSettings.model_validate(
        {
            "decoder": {"widths": args.widths, "stem_widths": [16, 32, 32, 48], "image_stem": args.stem},
            "training": {
                "epochs": args.epochs,
                "bpq_every": args.epochs,  # bPQ at the last epoch alone: it is the one that is kept
                "batch_size": 4,
                "learning_rate": 2e-3,
                **WAYS[way],
            },
            "seed": seed,
        }
    )
    device = resolve_device(args.device)
    kept = fit_decoder(data, settings, device=device)
    decoder = HoVerNetDecoder(**architecture_of(settings.decoder, data))
    decoder.load_state_dict(kept.weights)
    return decoder.to(device).eval()


def judged(decoder: HoVerNetDecoder, data: FamilyData, device: torch.device) -> tuple[np.ndarray, MapSums]:
    """`JUDGED` of every validation tile (published watershed, its default parameters), and the sums of the maps."""
    columns = [SCORE_COLUMNS.index(name) for name in JUDGED]
    rows, sums = [], []
    plan = sequential_rows(data.validate, 16)
    with closing(decoder_batches(data.features, data.targets, plan, taps=data.taps)) as batches:
        for batch in batches:
            maps = as_map_batch(batch.tiles, forward(decoder, batch, device))
            of_maps = map_sums(maps).rows
            sums.append(of_maps)
            for place, tile_id in enumerate(batch.tiles.tile_id):
                tiles = batch.tiles
                truth = Truth(tile_id, tiles.organ[place], tiles.instances[place], tiles.classes[place])
                task = MapsTask(truth, maps.np_prob[place], maps.hv[place], maps.nt_prob[place], of_maps[place])
                rows.append(score_maps(HoverNetWatershed(), task).values[columns])
    return np.array(rows), MapSums(np.concatenate(sums))


def row(outcome: Outcome, first: Outcome) -> str:
    """Values of a way and its differences to the first, as a row of Markdown."""
    cells = [outcome.label, str(len(outcome.tiles))]
    for values, others in zip(outcome.tiles.T, first.tiles.T, strict=True):
        figure, change = (bootstrap_mean(each, rng=np.random.default_rng(0)) for each in (values, values - others))
        cells += [f"{figure.value:.3f}", f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})"]
    return f"| {' | '.join((*cells, f'{outcome.np_dice:.3f}', f'{outcome.hv_skill:.3f}'))} |"


def _step(name: str, **arguments: object) -> None:
    """Run a stage as its rule does."""
    given = [name]
    for option, value in arguments.items():
        values = value if isinstance(value, list | tuple) else [value]
        given += [f"--{option.replace('_', '-')}", *map(str, values)]
    if cellvit(given):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
