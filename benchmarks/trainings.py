"""Trainings on the tiles and features of a finished run, for the programs that compare settings of a decoder.

Each setting is trained with every seed on the folds `--train`, and the weights after the last step predict the folds
`--test`. No tile selects anything, and the decoding has its default parameters. `--train-source` and `--test-source` keep
the tiles of this source (sources.npy), so that a decoder can be judged on another laboratory.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import torch

from cellvit.config.base import Section
from cellvit.config.models import DecoderSettings, TrainingSettings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.system_scores import scores_of_maps
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import Value
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.provenance import Provenance
from cellvit.formats.tile_table import TEXTS, TileScores
from cellvit.hover.decode import Watershed
from cellvit.inference.blocks import encoder_record
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import predict_maps
from cellvit.inference.parallel import workers
from cellvit.metrics.intervals import Interval
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.models.device import resolve_device
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import TILE_MPP
from cellvit.training.hovernet import RowsByRole, architecture_of, blocks_read, fit_decoder
from cellvit.training.trainable import as_tensors

FAMILY: Final = "all"
S = TypeVar("S", bound=Section)


class Experiment(NamedTuple):
    """Tiles that all trainings share, and where they compute."""

    data: FamilyData
    rows: RowsByRole
    test: np.ndarray
    device: torch.device
    threads: int

    def trained(self, decoder: DecoderSettings, training: TrainingSettings, seed: int) -> Loaded[HoVerNetDecoder]:
        """A decoder with the weights after the last step."""
        settings = TrainHovernetSettings(decoder=decoder, training=training, seed=seed)
        model = fit_decoder(self.data, self.rows, settings, device=self.device, threads=self.threads)
        architecture = architecture_of(decoder, self.data.features, PANNUKE.n_classes)
        module = HoVerNetDecoder(**architecture)
        module.load_state_dict(as_tensors(model.weights))
        blocks = {"blocks": list(blocks_read(decoder, self.data.features))}
        header = CheckpointHeader(
            provenance=Provenance(data_set=PANNUKE),
            kind="hovernet",
            split="benchmark",
            status="trained",
            architecture=architecture,
            encoder=encoder_record(self.data.features) | blocks,
            mpp=TILE_MPP,
        )
        return Loaded(module.to(self.device).eval(), header, self.device)

    def scores(self, decoder: Loaded[HoVerNetDecoder], watershed: Watershed) -> TileScores:
        """Scores of the tiles that are kept back."""
        with workers(self.threads, len(self.test)) as pool:
            maps = predict_maps(decoder, self.data.features, self.data.tiles, self.test)
            return scores_of_maps(maps, watershed, PANNUKE, family=FAMILY, pool=pool)


def add_training_arguments(group: Any, *, seeds: Sequence[int] = (0,)) -> None:
    """Declare which run, folds, sources, seeds and device are used, on a parser or a group of one."""
    group.add_argument("--run", type=Path, help="output folder of a finished run, whose features are used")
    group.add_argument("--train", type=int, nargs="+", default=[1], help="folds that train")
    group.add_argument("--test", type=int, nargs="+", default=[3], help="folds that are kept back")
    group.add_argument(
        "--train-source", default="", metavar="NAME", help="source of the tiles that train; default: all"
    )
    group.add_argument("--test-source", default="", metavar="NAME", help="source of the test tiles; default: all")
    group.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    group.add_argument("--threads", type=int, default=1)


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Experiment | None]:
    """The tiles of the run; None if no run is given."""
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
        yield Experiment(data, RowsByRole(train, validate=test[:0]), test, resolve_device(args.device), args.threads)


def rows_of(data: FamilyData, folds: Sequence[int], source: str) -> np.ndarray:
    """Tiles of these folds that come from `source`; all of them where it is empty."""
    rows = data.rows_of_folds(folds)
    return rows[[source in ("", found) for found in data.tiles.names("source", rows)]]


def changed(base: S, changes: Mapping[str, Any]) -> S:
    """The settings with these changes, checked."""
    return type(base).model_validate(base.model_dump() | dict(changes))


def mean_of(runs: Sequence[TileScores]) -> TileScores:
    """Scores of the same tiles, averaged over the seeds."""
    texts = {name: runs[0].text(name) for name in TEXTS}
    return TileScores.of(texts, COLUMNS, np.mean([run.block(COLUMNS) for run in runs], axis=0))


def segmentation_means(tiles: TileScores) -> dict[str, float]:
    """AJI (mean over tiles), bPQ and mPQ (means over tiles, then organs), as their paired differences are averaged."""
    organs = {"aji": np.zeros(len(tiles), np.int64), "bpq": tiles.organs, "mpq": tiles.organs}
    return {name: mean_over_organs(tiles.column(name), organs[name]) for name in organs}


def mean_and_range(values: Sequence[float], *, digits: int = 3) -> str:
    """The mean over the seeds, with their range where there are several."""
    ends = f" [{min(values):.{digits}f}, {max(values):.{digits}f}]" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{ends}"


def difference_cell(difference: Value | Interval) -> str:
    """A paired difference with its interval where there is one."""
    ends = "" if np.isnan(difference.low) else f" ({difference.low:+.3f} to {difference.high:+.3f})"
    return f"{difference.value:+.3f}{ends}"
