"""Stage `check_folds`: tiles of all folds -> proof that no image and no patient has two roles in a split, or an error."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from jaxtyping import UInt8

from cellvit.config.steps import CheckFoldsSettings
from cellvit.data.duplicates import Copy, Digests, copies_between, digests_of
from cellvit.data.findings import Finding, settle
from cellvit.formats.content import provenance_of
from cellvit.formats.documents import write_document
from cellvit.formats.hdf5 import Store
from cellvit.formats.tiles import FoldsCheck, open_tiles
from cellvit.workflow.arguments import Code, Input, Output, Setting, check_paired

log = logging.getLogger(__name__)

_BLOCK_TILES: Final = 64
"""Images in memory at a time: 13 MB."""

_MANY_SIMILAR: Final = 0.1
_FEWEST_SIMILAR: Final = 3
"""Near copies, and their share of a fold, from which they stop the run (decision): single ones may be alike by chance."""

_LEAVE_OUT: Final = (
    "Fix: check that the files of each fold are those of that fold (a wrong download is the most common cause), and leave "
    "copies out of all folds but one."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[CheckFoldsSettings, Setting("JSON: pairs of folds that have two roles in a split")]
    folds: Annotated[tuple[int, ...], Setting("numbers of the folds, in the order of the stores")]
    tiles: Annotated[tuple[Path, ...], Input("tile store of each fold")]
    check: Annotated[Path, Output("JSON to write if no image has two roles")]
    code: Code = ""


@dataclass(frozen=True, slots=True)
class _Fold:
    """Digests, ids and patients (empty if unknown) of the tiles of a fold."""

    digests: Digests
    tile_id: tuple[str, ...]
    patient: tuple[str, ...]


def run(arguments: Arguments) -> None:
    """Compare the images of every two folds that meet in a split.

    Raises:
        IntegrityError: Identical images, many near copies or a patient have two roles in a split; no file is written.
    """
    check_paired(folds=arguments.folds, tiles=arguments.tiles)
    folds: dict[int, _Fold] = {}
    for fold, path in zip(arguments.folds, arguments.tiles, strict=True):
        with open_tiles(path) as store:
            folds[fold] = _Fold(digests_of(_images(store)), store.names("tile_id"), store.names("patient"))
        log.info("read fold=%d tiles=%d", fold, len(folds[fold].tile_id))
    pairs = [pair for pair in arguments.settings.meeting if set(pair) <= folds.keys()]
    findings = [finding for pair in pairs for finding in _findings(folds, *pair)]
    settle(str(arguments.tiles[0].parent), findings, accepted=arguments.settings.accepted_findings)
    settings = {"folds": list(arguments.folds), **arguments.settings.model_dump(mode="json")}
    write_document(
        arguments.check,
        FoldsCheck(
            provenance=provenance_of(arguments.check, arguments.tiles, settings),
            n_tiles=sum(len(fold.tile_id) for fold in folds.values()),
            compared=tuple(pairs),
            warnings=tuple(map(str, findings)),
        ),
    )


def _images(store: Store) -> Iterator[UInt8[np.ndarray, "256 256 3"]]:
    for rows in store.blocks(_BLOCK_TILES):
        yield from store.read("image", rows)


def _findings(folds: Mapping[int, _Fold], first: int, second: int) -> Iterator[Finding]:
    """Copies between two folds, and their common patients: identical images and patients stop, a few near copies warn."""
    copies = copies_between(folds[first].digests, folds[second].digests)
    where = f"folds {first} and {second}, which have different roles in a split"
    if identical := [copy for copy in copies if copy.identical]:
        message = (
            f"{len(identical)} of {len(folds[second].tile_id)} images of fold {second} are identical to images of fold {first}: "
            f"{where}. Results on images that were trained on look better than they are. {_LEAVE_OUT}"
        )
        yield Finding("identical_images", message, _named(folds[first], folds[second], identical), stops=True)
    if near := sorted((copy for copy in copies if not copy.identical), key=lambda copy: -copy.similarity):
        message = (
            f"{len(near)} images of fold {second} look like flipped, turned or compressed copies of images of fold {first}: "
            f"{where}. Fix: look at them. If they are copies, leave them out of all folds but one."
        )
        many = len(near) >= max(_FEWEST_SIMILAR, _MANY_SIMILAR * len(folds[second].tile_id))
        yield Finding("similar_images", message, _named(folds[first], folds[second], near), stops=many)
    if patients := sorted({*folds[first].patient} & {*folds[second].patient} - {""}):
        message = (
            f"{len(patients)} patients have tiles in {where}. Results on patients that were trained on look better than they are. "
            "Fix: move all tiles of a patient into one fold; if these are different patients, give them different names."
        )
        yield Finding("shared_patients", message, tuple(patients), stops=True)


def _named(first: _Fold, second: _Fold, copies: list[Copy]) -> tuple[str, ...]:
    return tuple(f"{second.tile_id[copy.second]} of {first.tile_id[copy.first]}" for copy in copies)
