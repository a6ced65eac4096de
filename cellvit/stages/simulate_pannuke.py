"""Stage `simulate_pannuke`: a seed -> one fold in PanNuke's official layout, marked as simulated."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.data import SimulatedData
from cellvit.data.pannuke import fold_files
from cellvit.data.simulate.fold import write_fold
from cellvit.errors import SettingsError
from cellvit.inference.progress import progress
from cellvit.workflow.arguments import Code, Output, Setting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's output and params."""

    settings: Annotated[SimulatedData, Setting("JSON: tiles_per_fold, seed")]
    fold: Annotated[int, Setting("number of the fold")]
    images: Annotated[Path, Output("images.npy to write, in the official layout")]
    masks: Annotated[Path, Output("masks.npy to write")]
    types: Annotated[Path, Output("types.npy to write")]
    mark: Annotated[Path, Output('JSON to write in the folder "Fold N": marks the fold as simulated')]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write one simulated fold with its mark.

    Raises:
        SettingsError: The outputs are not in the official layout.
        ContractError: The files exist without the mark: they may be real data.
    """
    root, tiles, seed = arguments.mark.parents[1], arguments.settings.tiles_per_fold, arguments.settings.seed
    _check_layout(arguments, root)
    with progress(f"simulated fold={arguments.fold}", tiles) as add:
        write_fold(root, arguments.fold, tiles_per_fold=tiles, seed=seed, progress=lambda _: add(1))
    log.info("written fold=%d tiles=%d seed=%d root=%s", arguments.fold, tiles, seed, root)


def _check_layout(arguments: Arguments, root: Path) -> None:
    files = fold_files(root, arguments.fold)
    for name, expected in {**files.by_name, "mark": files.mark}.items():
        if (found := getattr(arguments, name)) != expected:
            raise SettingsError(f"--{name}: expected {expected} (PanNuke's official layout), found {found}")
