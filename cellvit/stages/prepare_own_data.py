"""Stage `prepare_own_data`: a folder of annotated images -> checked, cut into tiles, one tile store for each fold, or an error."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np

from cellvit.config.steps import PrepareOwnDataSettings
from cellvit.data.cutting import CutTile
from cellvit.data.findings import Finding, settle
from cellvit.data.own_data import OwnData, read_own_data
from cellvit.data.own_images import read_own_image
from cellvit.data.own_survey import Folds, OwnChecks, Surveyed, cut_own_image, folds_by_image, name_of, survey
from cellvit.data.pannuke import SIMULATED_MARK
from cellvit.data.resampling import needs_resampling
from cellvit.formats.atomic import write_text
from cellvit.formats.cells import safe_cell
from cellvit.formats.dataset import DataSet
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.own_check import OwnDataCheck
from cellvit.formats.own_tiles import OwnTile
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import (
    TILES,
    FoldSummary,
    NotAnnotated,
    TileBatch,
    append_tiles,
    n_patients,
    tile_id_of,
)
from cellvit.formats.writing import writing
from cellvit.inference.progress import reported
from cellvit.taxonomy import TILE_PX
from cellvit.workflow.arguments import Code, Input, Output, Setting, check_paired

log = logging.getLogger(__name__)

_IMAGES_CSV: Final = ("image", "fold", "organ", "patient", "source", "mpp", "tiles", "nuclei", "changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[PrepareOwnDataSettings, Setting("JSON: mpp, folds, fold_seed")]
    data: Annotated[Path, Input("folder of the data set, with dataset.yaml and tiles.csv")]
    tiles: Annotated[tuple[Path, ...], Output("tile store of each fold to write, in the order of the folds")]
    summaries: Annotated[tuple[Path, ...], Output("JSON of each fold to write: what it contains")]
    check: Annotated[Path, Output("JSON to write: what was checked, changed or left out")]
    images: Annotated[Path, Output("CSV to write: fold, tiles, nuclei and changes of each image")]
    code: Code = ""


@dataclass
class _Fold:
    """Sums over the tiles of a fold."""

    fold: int
    n_tiles: int = 0
    organs: Counter[str] = field(default_factory=Counter)
    patients: list[str] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    nuclei: Counter[int] = field(default_factory=Counter)
    nuclear_px: int = 0
    annotated: list[float] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def run(arguments: Arguments) -> None:
    """Check the data set as a whole, deal its images into folds, and write the tiles of each fold.

    Raises:
        MissingInputError: A file does not exist.
        ContractError: A file cannot be read, or contradicts the description of the data set.
        SettingsError: There are fewer patients than folds.
        IntegrityError: Values computed from the data would be wrong; the message has every reason.
    """
    settings, own = arguments.settings, read_own_data(arguments.data)
    check_paired(folds=settings.folds, tiles=arguments.tiles, summaries=arguments.summaries)
    data_set, n = own.dataset(settings.mpp), len(own.rows)
    checks = OwnChecks(own)
    read = survey(own, checks, model_mpp=settings.mpp)
    images = list(reported(read, "checked", n, unit="images", size=lambda _: 1))
    findings = checks.findings()
    settle(str(arguments.data), findings, accepted=settings.accepted_findings)
    folds = folds_by_image(own, images, folds=settings.folds, seed=settings.fold_seed)
    for sentence in folds.warnings:
        log.warning("%s", sentence)
    origin = Provenance(
        made_from={f"data:{own.description.name}": sha256_of(arguments.data)},
        settings=settings.model_dump(mode="json"),
        data_set=data_set,
        simulated=(arguments.data / SIMULATED_MARK).exists(),
    )
    for fold, tiles, summary in zip(settings.folds, arguments.tiles, arguments.summaries, strict=True):
        chosen = [image for image, of_image in zip(images, folds.fold, strict=True) if of_image == fold]
        document = _write_fold(own, fold, chosen, tiles, origin)
        write_document(summary, document)
    write_text(arguments.images, _images_csv(images, folds))
    write_document(arguments.check, _check(images, folds, findings, data_set, origin))


def _write_fold(own: OwnData, fold: int, images: Sequence[Surveyed], path: Path, origin: Provenance) -> FoldSummary:
    """Write the tile store of a fold, image by image, and count what is in it."""
    data_set, sums, n = origin.dataset, _Fold(fold), sum(image.n_tiles for image in images)
    with writing(path, TILES, n, {}, origin) as writer:
        for image in reported(iter(images), f"cut fold={fold}", len(images), unit="images", size=lambda _: 1):
            row = image.row
            for batch in _batches(cut_own_image(read_own_image(own, row), data_set.mpp).tiles, row, sums, data_set):
                append_tiles(writer, batch)
    return FoldSummary(
        provenance=origin,
        fold=fold,
        n_tiles=n,
        n_patients=n_patients(sums.patients),
        n_tiles_without_patient=sums.patients.count(""),
        tiles_by_organ=dict(sorted(sums.organs.items())),
        tiles_by_source=dict(sorted(sums.sources.items())),
        nuclei_by_class={name: sums.nuclei[number] for number, name in enumerate(data_set.class_names) if number},
        coverage=sums.nuclear_px / annotated_px if (annotated_px := sum(sums.annotated) * TILE_PX**2) else float("nan"),
        not_annotated=NotAnnotated.of(np.array(sums.annotated)),
        empty_tiles=tuple(sums.empty),
        overlap_px=0,
        nuclei_painted_over=0,
        background_mismatch_px=0,
    )


def _batches(tiles: Sequence[CutTile], row: OwnTile, sums: _Fold, data_set: DataSet) -> Iterator[TileBatch]:
    """The tiles of an image, one at a time; adds to the sums."""
    for tile in tiles:
        tile_id = tile_id_of(sums.fold, sums.n_tiles)
        batch = TileBatch(
            image=tile.image[None],
            instances=tile.instances[None],
            classes=tile.classes[None],
            organ=(row.organ,),
            tile_id=(tile_id,),
            patient=(row.patient,),
            source=(row.source,),
            origin=(f"{name_of(row)} x={tile.x} y={tile.y}",),
            dataset=data_set,
        )
        labels, first_px = np.unique(tile.instances, return_index=True)
        sums.nuclei.update(tile.classes.ravel()[first_px[labels > 0]].tolist())
        sums.n_tiles += 1
        sums.organs.update([row.organ] if row.organ else [])
        sums.sources.update([row.source] if row.source else [])
        sums.patients.append(row.patient)
        sums.nuclear_px += int(np.count_nonzero(tile.instances))
        sums.annotated += batch.annotated_share.tolist()
        sums.empty += [] if tile.instances.any() else [tile_id]
        yield batch


def _check(
    images: Sequence[Surveyed], folds: Folds, findings: Sequence[Finding], data_set: DataSet, origin: Provenance
) -> OwnDataCheck:
    changed: Counter[str] = Counter()
    for image in images:
        changed.update(image.counts)
    return OwnDataCheck(
        provenance=origin,
        n_images=len(images),
        n_resampled=sum(needs_resampling(image.mpp, data_set.mpp) for image in images),
        mpp_of_images=tuple(sorted({image.mpp for image in images})),
        changed=dict(sorted(changed.items())),
        warnings=(*map(str, findings), *folds.warnings),
    )


def _images_csv(images: Sequence[Surveyed], folds: Folds) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_IMAGES_CSV)
    for image, fold in zip(images, folds.fold.tolist(), strict=True):
        row = image.row
        changed = "; ".join(f"{name}={count}" for name, count in sorted(image.counts.items()))
        names = map(safe_cell, (image.name, row.organ, row.patient, row.source))
        name, organ, patient, source = names
        counts = image.n_tiles, int(image.class_counts.sum())
        writer.writerow([name, fold, organ, patient, source, f"{image.mpp:g}", *counts, changed])
    return text.getvalue()
