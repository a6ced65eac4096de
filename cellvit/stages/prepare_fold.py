"""Stage `prepare_fold`: one fold in PanNuke's official layout -> tile store of that fold, or an error."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from cellvit.data.pannuke import FoldFiles, RawBlock, check_fold, read_blocks, read_patients, read_types
from cellvit.errors import ContractError
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, FoldSummary, TileBatch, append_tiles, n_patients, tile_id_of
from cellvit.formats.writing import writing
from cellvit.hover.relabel import paint_channels
from cellvit.inference.progress import reported
from cellvit.taxonomy import CLASS_NAMES, TILE_PX
from cellvit.workflow.arguments import Code, Input, Output, Setting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    fold: Annotated[int, Setting("number of the fold")]
    images: Annotated[Path, Input("images.npy of the fold")]
    masks: Annotated[Path, Input("masks.npy of the fold")]
    types: Annotated[Path, Input("types.npy of the fold: the organ of each tile")]
    patients: Annotated[Path | None, Input("patients.npy of the fold: the patient of each tile, where known")] = None
    mark: Annotated[Path | None, Input("file that marks the fold as simulated")] = None
    tiles: Annotated[Path, Output("tile store to write")]
    summary: Annotated[Path, Output("JSON to write: what the fold contains, and what was resolved or dropped")]
    code: Code = ""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The names of each row of the fold."""

    fold: int
    organs: tuple[str, ...]
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.organs)


@dataclass
class _Counts:
    """Sums over the tiles of a fold."""

    nuclei: Counter[int] = field(default_factory=Counter)
    overlap_px: int = 0
    lost: int = 0
    mismatch_px: int = 0
    nuclear_px: int = 0
    brightest: int = 0
    empty: list[str] = field(default_factory=list)
    lost_in: list[str] = field(default_factory=list)


def run(arguments: Arguments) -> None:
    """Write the tile store, and the counts of everything that was resolved or dropped.

    Raises:
        MissingInputError: A file of the fold does not exist.
        ContractError: The fold is not in the official layout; the message says where.
    """
    files = FoldFiles(arguments.fold, arguments.images, arguments.types, arguments.masks, arguments.patients)
    organs = read_types(files)
    rows = _Rows(arguments.fold, organs, read_patients(files, len(organs)))
    log.info("reading fold=%d tiles=%d patients=%d", rows.fold, len(rows), n_patients(rows.patients))
    origin = Provenance(
        made_from={f"data:{name}": sha256_of(path) for name, path in files.inputs.items()},
        simulated=arguments.mark is not None or files.simulated,
    )
    counts = _Counts()
    with writing(arguments.tiles, TILES, len(rows), {}, origin) as writer:
        blocks = reported(
            read_blocks(files), f"painted fold={rows.fold}", len(rows), size=lambda block: len(block.images)
        )
        for block in blocks:
            append_tiles(writer, _painted(block, rows, counts))
        check_fold(
            files,
            mismatch_px=counts.mismatch_px,
            nuclear_px=counts.nuclear_px,
            brightest=counts.brightest,
            n=len(rows),
        )
    _log_warnings(rows, counts)
    write_document(arguments.summary, _summary(rows, counts, origin))


def _painted(block: RawBlock, rows: _Rows, counts: _Counts) -> TileBatch:
    """Annotated tiles of a block; adds to the counts."""
    instances = np.zeros(block.images.shape[:3], np.int32)
    classes = np.zeros(block.images.shape[:3], np.uint8)
    selected = slice(block.first, block.first + len(block.images))
    tile_ids = tuple(tile_id_of(rows.fold, row) for row in range(selected.start, selected.stop))
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
    return TileBatch(block.images, instances, classes, rows.organs[selected], tile_ids, rows.patients[selected])


def _log_warnings(rows: _Rows, counts: _Counts) -> None:
    """Log what was dropped or is unknown, so that nothing is skipped silently."""
    if counts.lost:
        log.warning("nuclei painted over by later channels: lost=%d tiles=%s", counts.lost, " ".join(counts.lost_in))
    if counts.mismatch_px:
        log.warning("background channel contradicts the classes: pixels=%d (the classes are used)", counts.mismatch_px)
    without = rows.patients.count("")
    if 0 < without < len(rows):
        log.warning("tiles without a patient: tiles=%d of %d (each is sampled alone)", without, len(rows))


def _summary(rows: _Rows, counts: _Counts, origin: Provenance) -> FoldSummary:
    return FoldSummary(
        provenance=origin,
        fold=rows.fold,
        n_tiles=len(rows),
        n_patients=n_patients(rows.patients),
        n_tiles_without_patient=rows.patients.count(""),
        tiles_by_organ=dict(sorted(Counter(rows.organs).items())),
        nuclei_by_class={name: counts.nuclei[number] for number, name in enumerate(CLASS_NAMES) if number},
        coverage=counts.nuclear_px / (len(rows) * TILE_PX**2) if len(rows) else float("nan"),
        empty_tiles=tuple(counts.empty),
        overlap_px=counts.overlap_px,
        nuclei_painted_over=counts.lost,
        background_mismatch_px=counts.mismatch_px,
    )
