"""Stage `prepare_fold`: one fold in PanNuke's official layout -> tile store of that fold, or an error."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from cellvit.config.steps import PrepareFoldSettings
from cellvit.data.findings import settle
from cellvit.data.image_checks import ImageChecks
from cellvit.data.pannuke import FoldFiles, RawBlock, check_fold, read_blocks, read_names, read_types
from cellvit.data.plausibility import overlap_findings
from cellvit.errors import ContractError
from cellvit.formats.dataset import PANNUKE, SIMULATED
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, FoldSummary, TileBatch, append_tiles, n_patients, tile_id_of
from cellvit.formats.writing import writing
from cellvit.hover.relabel import paint_channels
from cellvit.inference.progress import reported
from cellvit.taxonomy import TILE_PX
from cellvit.workflow.arguments import Code, Input, Output, Setting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[PrepareFoldSettings, Setting("JSON: accepted_findings")] = field(
        default_factory=PrepareFoldSettings
    )
    fold: Annotated[int, Setting("number of the fold")]
    images: Annotated[Path, Input("images.npy of the fold")]
    masks: Annotated[Path, Input("masks.npy of the fold")]
    types: Annotated[Path, Input("types.npy of the fold: the organ of each tile")]
    patients: Annotated[Path | None, Input("patients.npy of the fold: the patient of each tile, where known")] = None
    sources: Annotated[Path | None, Input("sources.npy of the fold: where each tile comes from, where known")] = None
    mark: Annotated[Path | None, Input("file that marks the fold as simulated")] = None
    tiles: Annotated[Path, Output("tile store to write")]
    summary: Annotated[Path, Output("JSON to write: what the fold contains, and what was resolved or dropped")]
    code: Code = ""


@dataclass
class _Fold:
    """The names of each row of the fold, and sums over its tiles."""

    fold: int
    organs: tuple[str, ...]
    patients: tuple[str, ...]
    sources: tuple[str, ...]
    nuclei: Counter[int] = field(default_factory=Counter)
    overlap_px: int = 0
    lost: int = 0
    mismatch_px: int = 0
    nuclear_px: int = 0
    brightest: int = 0
    checks: ImageChecks = field(default_factory=lambda: ImageChecks(PANNUKE.class_names, mpp=PANNUKE.mpp))
    empty: list[str] = field(default_factory=list)
    lost_in: list[str] = field(default_factory=list)


def run(arguments: Arguments) -> None:
    """Write the tile store, and the counts of everything that was resolved or dropped.

    Raises:
        MissingInputError: A file of the fold does not exist.
        ContractError: The fold is not in the official layout; the message says where.
        IntegrityError: Images are broken, masks are binary, or the annotation does not lie on nuclei.
    """
    paths = (arguments.images, arguments.types, arguments.masks, arguments.patients, arguments.sources)
    files = FoldFiles(arguments.fold, *paths)
    organs = read_types(files)
    n = len(organs)
    fold = _Fold(arguments.fold, organs, read_names(files, "patients", n), read_names(files, "sources", n))
    log.info("reading fold=%d tiles=%d patients=%d", fold.fold, n, n_patients(fold.patients))
    simulated = arguments.mark is not None or files.simulated
    origin = Provenance(
        made_from={f"data:{name}": sha256_of(path) for name, path in files.inputs.items()},
        data_set=SIMULATED if simulated else PANNUKE,
        simulated=simulated,
    )
    with writing(arguments.tiles, TILES, n, {}, origin) as writer:
        what = f"painted fold={fold.fold}"
        for block in reported(read_blocks(files), what, n, size=lambda block: len(block.images)):
            append_tiles(writer, _painted(block, fold, arguments.masks))
        sums = {"mismatch_px": fold.mismatch_px, "nuclear_px": fold.nuclear_px, "brightest": fold.brightest}
        check_fold(files, n=n, **sums)
        overlaps = overlap_findings(fold.nuclei.total(), fold.lost, fold.lost_in)
        findings = (*fold.checks.findings(), *overlaps)
        settle(str(files.images.parents[2]), findings, accepted=arguments.settings.accepted_findings)
    if fold.lost:
        log.warning("nuclei painted over by later channels: lost=%d tiles=%s", fold.lost, " ".join(fold.lost_in))
    if fold.mismatch_px:
        log.warning("background channel contradicts the classes: pixels=%d (the classes are used)", fold.mismatch_px)
    if 0 < (without := fold.patients.count("")) < n:
        log.warning("tiles without a patient: tiles=%d of %d (each is sampled alone)", without, n)
    if 0 < (without := fold.sources.count("")) < n:
        log.warning("tiles without a source: tiles=%d of %d (they are in no value by source)", without, n)
    write_document(arguments.summary, _summary(fold, n, origin, tuple(map(str, findings))))


def _painted(block: RawBlock, fold: _Fold, masks: Path) -> TileBatch:
    """Annotated tiles of a block of `masks`; adds to the sums."""
    instances = np.zeros(block.images.shape[:3], np.int32)
    classes = np.zeros(block.images.shape[:3], np.uint8)
    selected = slice(block.first, block.first + len(block.images))
    tile_ids = tuple(tile_id_of(fold.fold, row) for row in range(selected.start, selected.stop))
    for position, tile_id in enumerate(tile_ids):
        try:
            painted = paint_channels(block.masks[position, ..., :-1])
        except ContractError as error:
            error.add_note(f"in tile {tile_id}, row {block.first + position} of {masks}")
            raise
        instances[position], classes[position] = painted.instances, painted.classes
        fold.checks.add(tile_id, block.images[position], painted.instances, painted.classes)
        fold.overlap_px += painted.overlap_px
        fold.lost += painted.n_lost
        fold.lost_in += [tile_id] if painted.n_lost else []
        fold.empty += [] if painted.instances.any() else [tile_id]
        labels, first_px = np.unique(painted.instances, return_index=True)
        fold.nuclei.update(painted.classes.ravel()[first_px[labels > 0]].tolist())
    fold.mismatch_px += block.background_mismatch_px
    fold.nuclear_px += int(np.count_nonzero(instances))
    fold.brightest = max(fold.brightest, int(block.images.max(initial=0)))
    names = fold.patients[selected], fold.sources[selected]
    return TileBatch(block.images, instances, classes, fold.organs[selected], tile_ids, *names)


def _summary(fold: _Fold, n: int, origin: Provenance, warnings: tuple[str, ...]) -> FoldSummary:
    return FoldSummary(
        provenance=origin,
        fold=fold.fold,
        n_tiles=n,
        n_patients=n_patients(fold.patients),
        n_tiles_without_patient=fold.patients.count(""),
        tiles_by_organ=dict(sorted(Counter(fold.organs).items())),
        tiles_by_source=dict(sorted(Counter(filter(None, fold.sources)).items())),
        nuclei_by_class={name: fold.nuclei[number] for number, name in enumerate(PANNUKE.class_names) if number},
        coverage=fold.nuclear_px / (n * TILE_PX**2) if n else float("nan"),
        empty_tiles=tuple(fold.empty),
        overlap_px=fold.overlap_px,
        nuclei_painted_over=fold.lost,
        background_mismatch_px=fold.mismatch_px,
        warnings=warnings,
    )
