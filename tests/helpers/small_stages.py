"""Every step that computes, one after the other on a small case, as the graph runs them: python small_stages.py FOLDER THREADS."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Run:
    """Where the files of a run lie, and how many threads its steps use."""

    root: Path
    threads: int

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of every step of a split."""
        return {"split": "1", "device": "cpu", "threads": self.threads}

    def tiles(self, *folds: int) -> tuple[Path, ...]:
        """Tile stores."""
        return tuple(self.root / f"tiles/fold{fold}.h5" for fold in folds)

    def features(self, *folds: int) -> tuple[Path, ...]:
        """Feature stores."""
        return tuple(self.root / f"features/fold{fold}.h5" for fold in folds)

    def members(self, *folds: int) -> tuple[Path, ...]:
        """Rows of the family of all organs."""
        return tuple(self.root / f"families/all/fold{fold}.h5" for fold in folds)

    def of_folds(self, *folds: int) -> dict[str, tuple[Path, ...]]:
        """Inputs of a step that reads tiles and features of some folds."""
        return {"tiles": self.tiles(*folds), "features": self.features(*folds)}


def main(root: Path, threads: int) -> None:
    """Run the steps in `root`."""
    run = Run(root, threads)
    for fold in FOLDS:
        _prepare(root, fold, threads)
        ((members,), (tiles,), (features,)) = run.members(fold), run.tiles(fold), run.features(fold)
        write_members(members, fold=fold, organs=None, tiles=tiles, features=features)
    _train(run)
    _evaluate(run)


def _train(run: Run) -> None:
    """OrganHead, decoder and its decoding."""
    folds = {"train_folds": (1,), "validate_folds": (2,)}
    train_organ_head.run(
        train_organ_head.Arguments(
            settings=TrainOrganHeadSettings.model_validate(ORGAN_HEAD),
            checks=(),
            checkpoint=run.root / "organ_head.safetensors",
            history=run.root / "organ_head.csv",
            **run.of_folds(1, 2),
            **run.common | folds,
        )
    )
    train_hovernet.run(
        train_hovernet.Arguments(
            settings=TrainHovernetSettings.model_validate(DECODER),
            family="all",
            members=run.members(1, 2),
            checkpoint=run.root / "hovernet.safetensors",
            history=run.root / "hovernet.csv",
            maps=run.root / "maps.h5",
            **run.of_folds(1, 2),
            **run.common | folds,
        )
    )
    tune_watershed.run(
        tune_watershed.Arguments(
            settings=TuneWatershedSettings(watershed=WatershedSettings(method=("hv_flow",))),
            split="1",
            family="all",
            checkpoint=run.root / "hovernet.safetensors",
            maps=(run.root / "maps.h5",),
            members=run.members(2),
            tiles=run.tiles(2),
            watershed=run.root / "watershed.json",
            threads=run.threads,
        )
    )


def _evaluate(run: Run) -> None:
    """OrganHead and decoder on the test fold."""
    evaluate_organ_head.run(
        evaluate_organ_head.Arguments(
            settings=EvaluateSettings(),
            test_folds=(3,),
            organ_head=run.root / "organ_head.safetensors",
            evaluation=run.root / "organ_head.json",
            **run.of_folds(3),
            **run.common,
        )
    )
    evaluate_family.run(
        evaluate_family.Arguments(
            settings=EvaluateSettings(),
            family="all",
            train_folds=(1,),
            test_folds=(3,),
            members=run.members(1, 3),
            checkpoint=run.root / "hovernet.safetensors",
            watershed=run.root / "watershed.json",
            evaluation=run.root / "evaluation.json",
            table=run.root / "evaluation_tiles.csv",
            gallery=run.root / "gallery.json",
            **run.of_folds(1, 3),
            **run.common,
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
