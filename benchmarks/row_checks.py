"""What it costs to compare every row of the stores with its digest, against the extraction and the training that read them.

    python benchmarks/row_checks.py --encoder h-optimus-0 --weights random --device cuda

Prints seconds and shares; all are measured in this run, on simulated tiles. A store is checked once for each state of its
file, also if many steps read it; here, each of the two steps pays for it alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cellvit.config.evaluation import IntegrityGates
from cellvit.config.steps import ExtractFeaturesSettings, TrainHovernetSettings
from cellvit.data.pannuke import fold_files
from cellvit.data.simulate.fold import write_fold
from cellvit.formats.family import write_members
from cellvit.stages import check_targets, extract_features, prepare_fold, train_hovernet
from cellvit.workflow.verification import faults_of


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def write_tiles(root: Path, fold: int, n: int) -> Path:
    files, tiles = write_fold(root / "raw", fold, tiles_per_fold=n, seed=1), root / f"tiles/fold{fold}.h5"
    common = fold_files(root / "raw", fold).by_name
    prepare_fold.run(
        prepare_fold.Arguments(fold=fold, **common, mark=files.mark, tiles=tiles, summary=tiles.with_suffix(".json"))
    )
    targets = root / f"tiles/fold{fold}_targets.json"
    check_targets.run(check_targets.Arguments(settings=IntegrityGates(), fold=fold, tiles=tiles, check=targets))
    return tiles


def extract(root: Path, tiles: Path, encoder: dict[str, str], device: str) -> Path:
    features = root / "features" / tiles.name
    extract_features.run(
        extract_features.Arguments(
            settings=ExtractFeaturesSettings.model_validate({"encoder": encoder, "features": {}}),
            tiles=tiles,
            check=tiles.with_name(f"{tiles.stem}_targets.json"),
            features=features,
            device=device,
        )
    )
    return features


def train(root: Path, tiles: list[Path], features: list[Path], steps: int, device: str) -> None:
    members = [root / f"families/fold{fold}.h5" for fold in (1, 2)]
    for fold, (path, tile_store, feature_store) in enumerate(zip(members, tiles, features, strict=True), start=1):
        write_members(path, fold=fold, organs=None, tiles=tile_store, features=feature_store)
    training = {"steps": steps, "record_every": steps, "validate_every": steps}
    train_hovernet.run(
        train_hovernet.Arguments(
            settings=TrainHovernetSettings.model_validate({"decoder": {}, "training": training, "seed": 0}),
            split="1",
            family="all",
            train_folds=(1,),
            validate_folds=(2,),
            members=tuple(members),
            tiles=tuple(tiles),
            features=tuple(features),
            checkpoint=root / "hovernet.safetensors",
            history=root / "hovernet.csv",
            maps=root / "maps.h5",
            device=device,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tiny-vit", help="preset")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiles", type=int, default=32, help="tiles of each of two folds")
    parser.add_argument("--steps", type=int, default=8, help="steps that are trained")
    parser.add_argument("--epochs", type=float, default=50, help="passes over the tiles of a whole training")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tiles = [write_tiles(root, fold, args.tiles) for fold in (1, 2)]
        encoder = {"preset": args.encoder, "weights": args.weights}
        features: list[Path] = []
        extraction = seconds(lambda: features.extend(extract(root, path, encoder, args.device) for path in tiles))
        of_tiles, of_features = (
            seconds(lambda paths=paths: [faults_of(path) for path in paths]) for paths in (tiles, features)
        )
        training = seconds(lambda: train(root, tiles, features, args.steps, args.device))
    batch = TrainHovernetSettings.model_validate({"decoder": {}, "training": {}, "seed": 0}).training.batch_size
    whole = training / args.steps * args.epochs * args.tiles / batch
    print(
        f"extraction of {2 * args.tiles} tiles: {extraction:.1f} s; check of the tiles: {of_tiles:.2f} s, {of_tiles / extraction:.1%}"
    )
    both = of_tiles + of_features
    print(
        f"training of {args.steps} steps: {training:.1f} s, of {args.epochs:g} epochs {whole:.0f} s; check of tiles and "
        f"features: {both:.2f} s, {both / whole:.1%}"
    )


if __name__ == "__main__":
    main()
