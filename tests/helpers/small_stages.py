"""Every step that computes, one after the other on a small case, as the graph runs them: python small_stages.py FOLDER THREADS."""

import sys
from pathlib import Path

from cellvit.config.evaluation import IntegrityGates, WatershedSettings
from cellvit.config.steps import (
    EvaluateSettings,
    ExtractFeaturesSettings,
    TrainHovernetSettings,
    TrainOrganHeadSettings,
    TuneWatershedSettings,
)
from cellvit.data.pannuke import fold_files
from cellvit.data.simulate.fold import write_fold
from cellvit.formats.family import write_members
from cellvit.stages import (
    check_features,
    check_targets,
    evaluate_family,
    evaluate_organ_head,
    extract_features,
    prepare_fold,
    train_hovernet,
    train_organ_head,
    tune_watershed,
)

FOLDS = (1, 2, 3)
ENCODER = {
    "encoder": {"preset": "tiny-vit", "weights": "random"},
    "features": {"views": ["identity", "flip"]},
}
ORGAN_HEAD = {"organ_head": {"epochs": 20, "hidden": 32, "batch_size": 8}, "seed": 0}
DECODER = {
    "decoder": {"widths": [16, 16, 16, 16, 16], "stem_widths": [8, 8]},
    "training": {"steps": 4, "record_every": 2, "validate_every": 2, "batch_size": 4},
    "seed": 0,
}


def main(root: Path, threads: int) -> None:
    """Run the steps in `root`."""
    for fold in FOLDS:
        _prepare(root, fold, threads)
    tiles, features = ({fold: root / f"{kind}/fold{fold}.h5" for fold in FOLDS} for kind in ("tiles", "features"))
    members = {fold: root / f"families/all/fold{fold}.h5" for fold in FOLDS}
    for fold in FOLDS:
        write_members(members[fold], fold=fold, organs=None, tiles=tiles[fold], features=features[fold])

    def of(paths: dict[int, Path], *folds: int) -> tuple[Path, ...]:
        return tuple(paths[fold] for fold in folds)

    common = {"split": "1", "device": "cpu", "threads": threads}
    trained = common | {"train_folds": (1,), "validate_folds": (2,)}
    head, decoder = root / "organ_head.safetensors", root / "hovernet.safetensors"
    train_organ_head.run(
        train_organ_head.Arguments(
            settings=TrainOrganHeadSettings.model_validate(ORGAN_HEAD),
            tiles=of(tiles, 1, 2),
            features=of(features, 1, 2),
            checks=(),
            checkpoint=head,
            history=root / "organ_head.csv",
            **trained,
        )
    )
    train_hovernet.run(
        train_hovernet.Arguments(
            settings=TrainHovernetSettings.model_validate(DECODER),
            family="all",
            members=of(members, 1, 2),
            tiles=of(tiles, 1, 2),
            features=of(features, 1, 2),
            checkpoint=decoder,
            history=root / "hovernet.csv",
            maps=root / "maps.h5",
            **trained | {"threads": 1},  # on a CPU, its weights depend on the number of threads (docs/reliability.md)
        )
    )
    tune_watershed.run(
        tune_watershed.Arguments(
            settings=TuneWatershedSettings(watershed=WatershedSettings(method=("hv_flow",))),
            split="1",
            family="all",
            checkpoint=decoder,
            maps=(root / "maps.h5",),
            members=of(members, 2),
            tiles=of(tiles, 2),
            watershed=root / "watershed.json",
            threads=threads,
        )
    )
    evaluate_organ_head.run(
        evaluate_organ_head.Arguments(
            settings=EvaluateSettings(),
            test_folds=(3,),
            organ_head=head,
            tiles=of(tiles, 3),
            features=of(features, 3),
            evaluation=root / "organ_head.json",
            **common,
        )
    )
    evaluate_family.run(
        evaluate_family.Arguments(
            settings=EvaluateSettings(),
            family="all",
            train_folds=(1,),
            test_folds=(3,),
            members=of(members, 1, 3),
            tiles=of(tiles, 1, 3),
            features=of(features, 1, 3),
            checkpoint=decoder,
            watershed=root / "watershed.json",
            evaluation=root / "evaluation.json",
            table=root / "evaluation_tiles.csv",
            gallery=root / "gallery.json",
            **common,
        )
    )


def _prepare(root: Path, fold: int, threads: int) -> None:
    """Raw tiles, tile store, check of the targets, features and their check."""
    write_fold(root / "raw", fold, tiles_per_fold=16, seed=1)
    files, settings = fold_files(root / "raw", fold), ExtractFeaturesSettings.model_validate(ENCODER)
    tiles, features = root / f"tiles/fold{fold}.h5", root / f"features/fold{fold}.h5"
    summary = root / f"tiles/fold{fold}.json"
    prepare_fold.run(prepare_fold.Arguments(fold=fold, **files.by_name, mark=files.mark, tiles=tiles, summary=summary))
    targets, done = root / f"tiles/fold{fold}_targets.json", root / f"features/fold{fold}_check.json"
    check_targets.run(
        check_targets.Arguments(settings=IntegrityGates(), fold=fold, tiles=tiles, check=targets, threads=threads)
    )
    given = {"settings": settings, "tiles": tiles, "features": features, "device": "cpu", "threads": threads}
    extract_features.run(extract_features.Arguments(check=targets, **given))
    check_features.run(check_features.Arguments(check=done, **given))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
