"""Stage `tune_watershed`: a family's decoder on the validation folds -> the decoding parameters of the best AJI."""

import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from cellvit.config.steps import TuneWatershedSettings
from cellvit.evaluation.scoring import score_grid
from cellvit.evaluation.system_scores import grid_tasks
from cellvit.evaluation.systems import check_belongs
from cellvit.evaluation.tuning import border_warnings, grid_of, ranked
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.documents import write_document
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.tiles import groups_of
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import METHODS, method_of
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import workers
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[TuneWatershedSettings, Setting("JSON: grid")]
    split: Annotated[str, Setting("name of the split")]
    family: Annotated[str, Setting("name of the family")]
    validate_folds: Annotated[tuple[int, ...], Setting("folds on which the parameters are tuned")]
    checkpoint: Annotated[Path, Input("the family's decoder")]
    members: Annotated[tuple[Path, ...], Input("members of the family, one file per fold")]
    tiles: Annotated[tuple[Path, ...], Through("tile stores of these folds")]
    features: Annotated[tuple[Path, ...], Through("feature stores of these folds")]
    watershed: Annotated[Path, Output("JSON to write")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the choice: tuned; the first method's defaults without validation tiles; absent without a decoder."""
    check_paired(members=arguments.members, tiles=arguments.tiles, features=arguments.features)
    header = read_header(arguments.checkpoint)
    check_belongs(arguments.checkpoint, header, arguments.split, arguments.family)
    with open_family(arguments.members, arguments.tiles, arguments.features) as data:
        rows = data.rows_of_folds(arguments.validate_folds)
        if header.status == "absent":
            fields = _default(arguments, "") | {"status": "absent", "reason": header.reason}
        elif not len(rows):
            fields = _default(arguments, f"no tiles in validation folds {list(arguments.validate_folds)}")
        else:
            fields = _best(arguments, data, rows)
    choice = WatershedChoice(
        provenance=provenance_of(
            arguments.watershed,
            [arguments.checkpoint, *arguments.members],
            {**arguments.settings.model_dump(mode="json"), "validate_folds": arguments.validate_folds},
        ),
        split=arguments.split,
        family=arguments.family,
        **fields,
    )
    write_document(arguments.watershed, choice)
    where = f"watershed split={choice.split} family={choice.family}"
    for warning in (*choice.warnings, *([choice.reason] if choice.reason else [])):
        log.warning("%s %s", where, warning)
    log.info("%s status=%s method=%s %s", where, choice.status, choice.method, choice.parameters)


def _best(arguments: Arguments, data: FamilyData, rows: np.ndarray) -> dict[str, Any]:
    settings = arguments.settings.watershed
    grid, groups = grid_of(settings), groups_of(data.tiles.names("patient", rows))
    decoder = load_decoder(arguments.checkpoint, resolve_device(arguments.device))
    batches = predict_maps(decoder, data.features, data.tiles, rows)
    tasks = grid_tasks(reported(batches, f"grid tried points={len(grid)}", len(rows)))
    with workers(arguments.threads, len(rows) * len(grid)) as pool:
        aji = np.array(list(pool.map(partial(score_grid, grid), tasks)))
    points = ranked(grid, aji, groups=groups)
    best, point = points[0]
    if not point.aji.n:
        return _default(arguments, "no validation tile has a nucleus in ground truth or prediction")
    return {
        "status": "tuned",
        "method": method_of(best),
        "parameters": asdict(best),
        "grid": tuple(point for _, point in points),
        "warnings": border_warnings(best, settings) if settings.warn_at_border else (),
    }


def _default(arguments: Arguments, cause: str) -> dict[str, Any]:
    method = arguments.settings.watershed.method[0]
    return {
        "status": "default",
        "reason": f"{cause}; {method}, the first method of the settings, is used with its default parameters",
        "method": method,
        "parameters": asdict(METHODS[method]()),
    }
