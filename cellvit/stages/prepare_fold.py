"""Stage `prepare_fold`: one fold in PanNuke's official layout -> tile store of that fold."""

import argparse
import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cellvit.data.pannuke import RawBlock, check_fold, fold_files, read_blocks, read_patients, read_types
from cellvit.errors import ContractError
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.hdf5 import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.seals import said_by_store, write_seal
from cellvit.formats.tiles import TILES, FoldSummary, TileBatch, append_tiles, n_patients, open_tiles
from cellvit.hover.relabel import paint_channels
from cellvit.inference.progress import reported
from cellvit.taxonomy import CLASS_NAMES, TILE_PX

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--root", type=Path, required=True, help='folder that holds "Fold N"')
    parser.add_argument("--fold", type=int, required=True, help="number of the fold")
    parser.add_argument("--tiles", type=Path, required=True, help="tile store to write")
    parser.add_argument("--summary", type=Path, required=True, help="JSON to write: what was found and dropped")
    parser.add_argument("--seal", type=Path, help="seal of the tile store to write")


def run(args: argparse.Namespace) -> None:
    """Write the tile store, and the counts of everything that was resolved on the way."""
    files = fold_files(args.root, args.fold)
    organs = read_types(files)
    patients = read_patients(files, len(organs))
    log.info("reading fold=%d tiles=%d patients=%d root=%s", args.fold, len(organs), n_patients(patients), args.root)
    origin = Provenance(
        made_from={name: sha256_of(path) for name, path in files.inputs.items()}, simulated=files.simulated
    )
    counts = _Counts()
    with writing(args.tiles, TILES, len(organs), {}, origin) as writer:
        what = f"painted fold={args.fold}"
        for block in reported(read_blocks(files), what, len(organs), size=lambda block: len(block.images)):
            append_tiles(writer, _painted(block, args.fold, organs, patients, counts))
        check_fold(
            files,
            mismatch_px=counts.mismatch_px,
            nuclear_px=counts.nuclear_px,
            brightest=counts.brightest,
            n=len(organs),
        )
    counts.log_warnings()
    _warn_without_patient(patients)
    write_document(args.summary, counts.summary(args.fold, organs, patients, origin))
    if args.seal:
        with open_tiles(args.tiles) as store:
            write_seal(args.seal, said_by_store(store))


@dataclass
class _Counts:
    """What adds up over the tiles of a fold."""

    nuclei: Counter[int] = field(default_factory=Counter)
    overlap_px: int = 0
    lost: int = 0
    mismatch_px: int = 0
    nuclear_px: int = 0
    brightest: int = 0
    empty: list[str] = field(default_factory=list)
    lost_in: list[str] = field(default_factory=list)

    def log_warnings(self) -> None:
        """Say what the fold lost, so that nothing is dropped in silence."""
        if self.lost:
            log.warning("nuclei painted over by later channels: lost=%d tiles=%s", self.lost, " ".join(self.lost_in))
        if self.mismatch_px:
            log.warning("background channel contradicts the classes: pixels=%d (the classes decide)", self.mismatch_px)

    def summary(self, fold: int, organs: tuple[str, ...], patients: tuple[str, ...], origin: Provenance) -> FoldSummary:
        """The counts as a document."""
        return FoldSummary(
            provenance=origin,
            fold=fold,
            n_tiles=len(organs),
            n_patients=n_patients(patients),
            n_tiles_without_patient=patients.count(""),
            tiles_by_organ=dict(sorted(Counter(organs).items())),
            nuclei_by_class={name: self.nuclei[number] for number, name in enumerate(CLASS_NAMES) if number},
            coverage=self.nuclear_px / (len(organs) * TILE_PX**2) if organs else float("nan"),
            empty_tiles=tuple(self.empty),
            overlap_px=self.overlap_px,
            nuclei_painted_over=self.lost,
            background_mismatch_px=self.mismatch_px,
        )


def _warn_without_patient(patients: tuple[str, ...]) -> None:
    """Say which part of a fold that names patients does not."""
    without = patients.count("")
    if 0 < without < len(patients):
        log.warning("tiles without a patient: tiles=%d of %d (drawn one by one)", without, len(patients))


def _painted(
    block: RawBlock, fold: int, organs: tuple[str, ...], patients: tuple[str, ...], counts: _Counts
) -> TileBatch:
    rows = range(block.first, block.first + len(block.images))
    names = slice(rows.start, rows.stop)
    tile_ids = tuple(f"f{fold}-{row:05d}" for row in rows)
    instances = np.zeros(block.images.shape[:3], np.int32)
    classes = np.zeros(block.images.shape[:3], np.uint8)
    for position, tile_id in enumerate(tile_ids):
        try:
            painted = paint_channels(block.masks[position, ..., :-1])
        except ContractError as error:
            error.add_note(f"in tile {tile_id}")
            raise
        instances[position], classes[position] = painted.instances, painted.classes
        counts.overlap_px += painted.overlap_px
        counts.lost += painted.n_lost
        counts.lost_in += [tile_id] if painted.n_lost else []
        counts.empty += [] if painted.instances.any() else [tile_id]
        labels, first_px = np.unique(painted.instances, return_index=True)
        counts.nuclei.update(painted.classes.ravel()[first_px[labels > 0]].tolist())
    counts.mismatch_px += block.background_mismatch_px
    counts.nuclear_px += int(np.count_nonzero(instances))
    counts.brightest = max(counts.brightest, int(block.images.max(initial=0)))
    return TileBatch(block.images, instances, classes, organs[names], tile_ids, patients[names])
