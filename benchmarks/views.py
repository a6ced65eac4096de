"""What rotated tokens lose compared with the tokens of rotated tiles, and what a finer token grid gains.

    python benchmarks/real_folds.py data/real_tiles
    python benchmarks/views.py data/real_tiles                                            # rotated, stored, none
    python benchmarks/views.py data/real_tiles --ways none --input-px 224 336 448         # resolutions

For each way of augmentation and each input size, one decoder is trained on fold 1, with the same seed and epochs, and
evaluated on fold 2 after its last step, which no metric selects (AJI and bPQ are means over tiles). The ways are: rotated
(the tokens of the identity view, flipped and rotated as a map of vectors), stored (the tokens of the flipped and rotated
tile, which are extracted: `features.views: [dihedral8]`), none (no augmentation). Image and ground truth are flipped and
rotated exactly in the first two. `--organs` selects a family. `--stem none` hides the image from the decoder, so that it
depends on the tokens alone.

The encoder has random weights by default. Then the result says little about a trained encoder; if its weights are
available, use `--preset h-optimus-0 --weights published --device cuda`.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from stores import Family

from cellvit.config.steps import ExtractFeaturesSettings, GatherFamiliesSettings, TrainHovernetSettings
from cellvit.data.pannuke import fold_files
from cellvit.evaluation.system_scores import scores_of_maps
from cellvit.evaluation.values import map_sums_of
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import open_family
from cellvit.hover.parameters import HoverNetWatershed
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import workers
from cellvit.metrics.intervals import interval_of_mean
from cellvit.models.device import resolve_device
from cellvit.stages import extract_features, gather_families, prepare_fold, train_hovernet
from cellvit.taxonomy import ORGANS

WAYS: Final = {
    "rotated": {"augment": True, "views": "rotated"},
    "stored": {"augment": True, "views": "stored"},
    "none": {"augment": False},
}
"""Settings of `training` for each way of augmentation."""

TRAIN, VALIDATE = FOLDS = (1, 2)
FAMILY: Final = "benchmark"
METRICS: Final = ("aji", "bpq")

_NEVER: Final = 10**9
"""More steps than any training has."""


@dataclass(frozen=True, slots=True)
class Result:
    """Values on the validation fold, means over the seeds.

    Attributes:
        tiles: A row for every tile, a column for each of `METRICS`.
    """

    label: str
    np_dice: float
    hv_skill: float
    tiles: np.ndarray


def main() -> None:
    args = _arguments()
    logging.basicConfig(level=logging.WARNING)
    first: Result | None = None
    print("Differences from the first row, on the same tiles, with 95 % intervals over tiles\n")
    print("| input, views | n | AJI | difference | bPQ | difference | NP Dice | HV skill |\n" + "|---" * 8 + "|")
    with _folder(args.keep) as folder:
        tiles = prepare(args.folds, folder)
        for input_px in args.input_px:
            files = extract(args, folder / f"{input_px}", tiles, input_px)
            for way in args.ways:
                result = evaluated(args, files, way, f"{input_px} px, {way}")
                first = first or result
                print(row(result, first), flush=True)
    if args.weights == "random":
        print("\nThe encoder has random weights: this says little about a trained one.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folds", type=Path, help='folder with "Fold 1" and "Fold 2" in PanNuke\'s layout')
    parser.add_argument(
        "--organs", nargs="+", choices=ORGANS, default=list(ORGANS), help="a family; default: all organs"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="ways of augmentation")
    parser.add_argument("--input-px", type=int, nargs="+", default=[224], help="sides of the encoder's input")
    parser.add_argument("--stem", choices=("rgb", "none"), default="rgb", help="decoder.image_stem")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--widths", type=int, nargs=5, default=[96, 64, 48, 32, 16], help="decoder.widths")
    parser.add_argument("--preset", default="tiny-vit", help="encoder.preset")
    parser.add_argument("--weights", default="random", help="encoder.weights")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    about = "folder for tiles and features; a later call with the same encoder and views reuses them"
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help=about)
    return parser.parse_args()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def prepare(root: Path, folder: Path) -> tuple[Path, ...]:
    """Tile stores of both folds."""
    stores = tuple(folder / f"tiles{fold}.h5" for fold in FOLDS)
    for fold, tiles in zip(FOLDS, stores, strict=True):
        raw, summary = fold_files(root, fold).by_name, tiles.with_suffix(".json")
        if not tiles.exists():
            prepare_fold.run(prepare_fold.Arguments(fold=fold, **raw, tiles=tiles, summary=summary))
    return stores


def extract(args: argparse.Namespace, folder: Path, tiles: tuple[Path, ...], input_px: int) -> Family:
    """Features of both folds at one input size, and the family on them."""
    views = ["dihedral8"] if "stored" in args.ways else ["identity"]
    settings = ExtractFeaturesSettings.model_validate(
        {
            "encoder": {"preset": args.preset, "weights": args.weights},
            "features": {"input_px": input_px, "views": views},
        }
    )
    members, features = (tuple(folder / f"{kind}{fold}.h5" for fold in FOLDS) for kind in ("members", "fold"))
    for fold, *paths in zip(FOLDS, members, tiles, features, strict=True):
        listed, of_fold, extracted = paths
        given = {"tiles": of_fold, "check": of_fold, "features": extracted}
        if not extracted.exists():
            extract_features.run(
                extract_features.Arguments(settings=settings, **given, device=args.device, threads=args.threads)
            )
        organs = GatherFamiliesSettings(organs=args.organs)
        gather_families.run(gather_families.Arguments(settings=organs, fold=fold, **given, members=listed))
    return Family(members, tiles, features)


def evaluated(args: argparse.Namespace, files: Family, way: str, label: str) -> Result:
    """Train a decoder with every seed, and evaluate its last step on the validation fold."""
    tiles, maps = [], []
    for seed in args.seeds:
        checkpoint = trained(args, files, way, seed)
        decoder = load_decoder(checkpoint, resolve_device(args.device))
        with open_family(*files) as data, workers(1, 0) as pool:
            batches = predict_maps(decoder, data.features, data.tiles, data.rows_of_folds([VALIDATE]))
            scores = scores_of_maps(batches, HoverNetWatershed(), PANNUKE, family=FAMILY, pool=pool)
        tiles.append(scores.block(METRICS))
        maps.append(map_sums_of(scores))
    np_dice, hv_skill = (float(np.mean([sums.value(name) for sums in maps])) for name in ("np_dice", "hv_skill"))
    return Result(label, np_dice, hv_skill, np.mean(tiles, axis=0))


def trained(args: argparse.Namespace, files: Family, way: str, seed: int) -> Path:
    """Checkpoint of the last step."""
    settings = TrainHovernetSettings.model_validate(
        {
            "decoder": {"widths": args.widths, "stem_widths": [16, 32, 32, 48], "image_stem": args.stem},
            "training": {
                "epochs": args.epochs,
                "min_steps": 0,
                "validate_every": _NEVER,  # bPQ is measured after the last step only, so that this one is selected
                "batch_size": 4,
                "learning_rate": 2e-3,
                **WAYS[way],
            },
            "seed": seed,
        }
    )
    checkpoint = files.features[0].with_name(f"{way}_{seed}.safetensors")
    train_hovernet.run(
        train_hovernet.Arguments(
            settings=settings,
            split="benchmark",
            family=FAMILY,
            train_folds=(TRAIN,),
            validate_folds=(VALIDATE,),
            **files._asdict(),
            checkpoint=checkpoint,
            history=checkpoint.with_suffix(".csv"),
            maps=checkpoint.with_suffix(".h5"),
            device=args.device,
            threads=args.threads,
        )
    )
    return checkpoint


def row(result: Result, first: Result) -> str:
    """Values and their differences from the first result, as a row of Markdown."""
    cells = [result.label, str(len(result.tiles))]
    for values, others in zip(result.tiles.T, first.tiles.T, strict=True):
        change = interval_of_mean(values - others, scale="real")
        cells += [f"{np.nanmean(values):.3f}", f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})"]
    return f"| {' | '.join((*cells, f'{result.np_dice:.3f}', f'{result.hv_skill:.3f}'))} |"


if __name__ == "__main__":
    main()
