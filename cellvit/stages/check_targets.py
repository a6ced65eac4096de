"""Stage `check_targets`: tiles of one fold -> proof that their targets can be trained on, or an error."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cellvit.config.evaluation import IntegrityGates
from cellvit.evaluation.annotated import n_nuclei, not_annotated
from cellvit.evaluation.checks import passed_checks
from cellvit.evaluation.system_scores import perfect_maps, scores_of_maps
from cellvit.evaluation.target_checks import (
    FIX,
    aji_by_organ,
    checked_hv,
    coverage,
    hv_length,
    nuclei_by_class,
    target_results,
    tiles_by_organ,
)
from cellvit.evaluation.values import metric_values
from cellvit.formats.content import provenance_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.documents import write_document
from cellvit.formats.hdf5 import Rows
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import TargetCheck, open_tiles, read_tiles
from cellvit.hover.decode import METHODS
from cellvit.inference.parallel import workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.progress import reported
from cellvit.workflow.arguments import Code, Input, Output, Setting, Threads

log = logging.getLogger(__name__)

_BLOCK_TILES: Final = 16
"""Tiles in memory at a time: 16 with their maps take about 60 MB."""

_METRICS: Final = ("aji", "pq", "dice")
"""Metrics of the upper bound that are reported, means over tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[IntegrityGates, Setting("JSON: limits of the integrity checks")]
    fold: Annotated[int, Setting("number of the fold")]
    tiles: Annotated[Path, Input("tile store of the fold")]
    check: Annotated[Path, Output("JSON to write if every check passes")]
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the result of the checks.

    Raises:
        IntegrityError: A check failed; no file is written.
    """
    with open_tiles(arguments.tiles) as tiles, workers(arguments.threads, len(tiles)) as pool:
        data_set = tiles.dataset
        upper_bounds: dict[str, TileScores] = {
            method: scores_of_maps(_perfect_maps(tiles, method), defaults(), data_set, family="", pool=pool)
            for method, defaults in METHODS.items()
        }
    document = _document(arguments, upper_bounds, data_set)
    write_document(arguments.check, document)
    if not document.n_nuclei:
        log.warning("fold=%d has no nucleus in %d tiles; nothing to check", arguments.fold, document.n_tiles)


def _perfect_maps(tiles: Rows, method: str) -> Iterator[MapBatch]:
    maps = (checked_hv(perfect_maps(read_tiles(tiles, rows))) for rows in tiles.blocks(_BLOCK_TILES))
    return reported(maps, f"scored system=upper_bound method={method}", len(tiles))


def _document(arguments: Arguments, upper_bounds: dict[str, TileScores], data_set: DataSet) -> TargetCheck:
    values = {method: metric_values(scores) for method, scores in upper_bounds.items()}
    upper_bound = {method: {name: of_method[name] for name in _METRICS} for method, of_method in values.items()}
    by_organ, gates = aji_by_organ(upper_bounds), arguments.settings
    scores = upper_bounds["hovernet"]  # for everything that does not depend on the method
    settings = {"fold": arguments.fold, "gates": gates.model_dump(mode="json")}
    return TargetCheck(
        provenance=provenance_of(arguments.check, [arguments.tiles], settings),
        fold=arguments.fold,
        n_tiles=len(scores),
        n_nuclei=n_nuclei(scores),
        tiles_by_organ=tiles_by_organ(scores),
        nuclei_by_class=nuclei_by_class(scores, data_set),
        coverage=coverage(scores),
        not_annotated=not_annotated(scores),
        hv_length=hv_length(scores),
        upper_bound=upper_bound,
        upper_bound_aji_by_organ=by_organ,
        checks=passed_checks(str(arguments.tiles), target_results(scores, upper_bound, by_organ, gates), fix=FIX),
    )
