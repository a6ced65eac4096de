"""Stage `tune_watershed`: maps of a family's validation tiles -> the decoding and the classical baseline that are best there."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from jaxtyping import Float64

from cellvit.config.data import FINAL_SPLIT
from cellvit.config.evaluation import SelectBy
from cellvit.config.steps import TuneWatershedSettings
from cellvit.evaluation.selection import ImageOfTile, MapsOfTile, values_of_image, values_of_maps
from cellvit.evaluation.systems import check_belongs, check_made_from
from cellvit.evaluation.tuning import CLASSICAL, CLASSICAL_FINALISTS, SEARCHED, Trial, Trials, Tried, spaces_of, tuned
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.documents import write_document
from cellvit.formats.family import open_family_tiles
from cellvit.formats.hdf5 import Rows
from cellvit.formats.maps import MapsOfTiles, open_maps, open_pooled_maps
from cellvit.formats.tiles import groups_of
from cellvit.formats.watershed import TriedPoint, ValidationTile, WatershedChoice
from cellvit.hover.decode import METHODS, Watershed, method_of
from cellvit.hover.parameters import Classical
from cellvit.inference.parallel import Workers, workers
from cellvit.inference.predictions import Segmentation
from cellvit.workflow.arguments import Code, Input, Output, Setting, Threads, Through, check_paired

log = logging.getLogger(__name__)

_BLOCK_TILES: Final = 64
"""Tiles whose class maps are in memory at the same time: 4 MB."""

_ONE_PATIENT: Final = (
    "all validation tiles are of one patient, and parameters that are searched on one patient do not fit others (docs/decoding.md): "
    "{method} is used with the listed parameters that are nearest to its defaults"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[TuneWatershedSettings, Setting("JSON: where to search")]
    split: Annotated[str, Setting("name of the split")]
    family: Annotated[str, Setting("name of the family")]
    checkpoint: Annotated[Path, Input("the family's decoder")]
    maps: Annotated[tuple[Path, ...], Input("its maps of the validation tiles; for a final model those of every split")]
    members: Annotated[tuple[Path, ...], Input("members of the family, one file per validation fold")]
    tiles: Annotated[tuple[Path, ...], Through("tile stores of these folds")]
    watershed: Annotated[Path, Output("JSON to write")]
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the choice: tuned; defaults without validation tiles or with those of one patient; absent without a decoder.

    A final model has no validation tiles of its own. Its decoding is tuned on the validation tiles of all splits together,
    with the maps of the decoder of each split, which was not trained on them.
    """
    check_paired(members=arguments.members, tiles=arguments.tiles)
    header, settings = read_header(arguments.checkpoint), arguments.settings.watershed
    check_belongs(arguments.checkpoint, header, arguments.split, arguments.family)
    if header.status == "absent":
        fields = _default(arguments, "") | {"status": "absent", "reason": header.reason}
    else:
        with (
            open_family_tiles(arguments.members, arguments.tiles) as tiles,
            _open_maps(arguments, tiles, final=header.final) as found,
        ):
            fields = _best(arguments, *found) if len(found.tiles) else _default(arguments, "no validation tiles")
    inputs = [arguments.checkpoint, *arguments.maps, *arguments.members]
    choice = WatershedChoice(
        provenance=provenance_of(arguments.watershed, inputs, arguments.settings.model_dump(mode="json")),
        split=arguments.split,
        family=arguments.family,
        select_by=settings.select_by,
        average_views=settings.average_views,
        **fields,
    )
    write_document(arguments.watershed, choice)
    where = f"watershed split={choice.split} family={choice.family}"
    if choice.reason:
        log.warning("%s %s", where, choice.reason)
    log.info("%s status=%s method=%s %s", where, choice.status, choice.method, choice.parameters)


@contextmanager
def _open_maps(arguments: Arguments, tiles: Rows, *, final: bool) -> Iterator[MapsOfTiles]:
    """The maps from which the decoding is tuned, with their tiles."""
    average_views = arguments.settings.watershed.average_views
    if final:
        with open_pooled_maps(arguments.maps, tiles, average_views=average_views) as pooled:
            yield pooled
        return
    (path,) = arguments.maps
    with open_maps(path, tiles, np.arange(len(tiles)), average_views=average_views) as maps:
        check_made_from(path, maps.provenance, arguments.checkpoint)
        yield MapsOfTiles(maps, tiles)


def _best(arguments: Arguments, maps: Rows, tiles: Rows) -> dict[str, Any]:
    settings = arguments.settings.watershed
    organs, groups = np.array(tiles.names("organ"), object), groups_of(tiles.names("patient"))
    with workers(arguments.threads, len(tiles) * len(settings.method)) as pool:
        validation = _Validation(tiles, maps, settings.select_by, _majority_class(tiles), pool)
        trials: Trials[Watershed] = Trials(settings.select_by, validation.of_maps, organs, groups)
        tried = tuned(spaces_of(settings), trials)
        images: Trials[Classical] = Trials(settings.select_by, validation.of_images, organs, groups)
        classical = tuned([CLASSICAL], images, finalists=CLASSICAL_FINALISTS)[0]
    best, value = tried[0]
    if not value.n:
        return _default(arguments, f"{settings.select_by} is not defined on any validation tile")
    reason = "" if not trials.of_one_patient else _ONE_PATIENT.format(method=method_of(best))
    return {
        "status": "default" if reason else "tuned",
        "reason": reason,
        "method": method_of(best),
        "parameters": asdict(best),
        "tried": tuple(_recorded(one) for one in tried),
        "validation": () if arguments.split == FINAL_SPLIT else _by_tile(tiles, trials.of(best)),
        "classical": asdict(classical.point),
        "classical_value": classical.value,
    }


@dataclass(frozen=True, slots=True)
class _Validation:
    """The validation tiles of the family with their maps, row by row."""

    tiles: Rows
    maps: Rows
    select_by: SelectBy
    majority_class: int
    pool: Workers

    def of_maps(self, trials: Sequence[Trial[Watershed]]) -> Iterator[Float64[np.ndarray, " p"]]:
        """Values of the points of each trial on the decoder's maps."""
        tasks = (
            MapsOfTile(
                truth=self._truth(row),
                np_prob=self.maps.read("np_prob", np.array([row]))[0].astype(np.float32),
                hv=self.maps.read("hv", np.array([row]))[0].astype(np.float32),
                nt_class=self.maps.read("nt_class", np.array([row]))[0],
                points=points,
                n_classes=self.tiles.dataset.n_classes,
            )
            for row, points in trials
        )
        return self.pool.map(partial(values_of_maps, self.select_by), tasks)

    def of_images(self, trials: Sequence[Trial[Classical]]) -> Iterator[Float64[np.ndarray, " p"]]:
        """Values of the points of each trial of the classical baseline."""
        tasks = (
            ImageOfTile(
                truth=self._truth(row),
                image=self.tiles.read("image", np.array([row]))[0],
                majority_class=self.majority_class,
                points=points,
                n_classes=self.tiles.dataset.n_classes,
            )
            for row, points in trials
        )
        return self.pool.map(partial(values_of_image, self.select_by), tasks)

    def _truth(self, row: int) -> Segmentation:
        return Segmentation(*(self.tiles.read(name, np.array([row]))[0] for name in ("instances", "classes")))


def _majority_class(tiles: Rows) -> int:
    """Nuclear class of the most nuclear pixels (those that are not annotated have none), which the classical baseline gives to all nuclei."""
    counts = np.zeros(tiles.dataset.n_classes + 1, np.int64)
    for rows in tiles.blocks(_BLOCK_TILES):
        counts += np.bincount(tiles.read("classes", rows).ravel(), minlength=len(counts))[: len(counts)]
    return 1 + int(counts[1:].argmax())


def _recorded(tried: Tried[Watershed]) -> TriedPoint:
    method = method_of(tried.point)
    parameters = {name: getattr(tried.point, name) for name in SEARCHED[method]}
    return TriedPoint(method=method, parameters=parameters, value=tried.value)


def _by_tile(tiles: Rows, values: Float64[np.ndarray, " n"]) -> tuple[ValidationTile, ...]:
    columns = {name: tiles.names(name) for name in ("tile_id", "organ", "patient")}
    return tuple(
        ValidationTile(**{name: column[row] for name, column in columns.items()}, value=float(value))
        for row, value in enumerate(values)
    )


def _default(arguments: Arguments, cause: str) -> dict[str, Any]:
    method = arguments.settings.watershed.method[0]
    return {
        "status": "default",
        "reason": f"{cause}; {method}, the first method of the settings, is used with its default parameters",
        "method": method,
        "parameters": asdict(METHODS[method]()),
        "classical": asdict(Classical()),
    }
