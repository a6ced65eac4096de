"""Stage `average_maps`: a family's decoder -> its maps of the validation tiles, averaged over their stored views.

It runs where `watershed.average_views` is set. The training does not read this setting, so that it repeats no training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from cellvit.evaluation.systems import check_belongs
from cellvit.formats.checkpoints import read_header
from cellvit.formats.family import open_family
from cellvit.inference.map_stores import store_maps
from cellvit.models.device import resolve_device
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    split: Annotated[str, Setting("name of the split")]
    family: Annotated[str, Setting("name of the family")]
    checkpoint: Annotated[Path, Input("the family's decoder")]
    members: Annotated[tuple[Path, ...], Input("members of the family, one file per validation fold")]
    tiles: Annotated[tuple[Path, ...], Through("tile stores of these folds")]
    features: Annotated[tuple[Path, ...], Through("feature stores of these folds")]
    maps: Annotated[Path, Output("store to write: averaged maps of the validation tiles")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the maps; none without a decoder or without validation tiles."""
    check_paired(members=arguments.members, tiles=arguments.tiles, features=arguments.features)
    checkpoint, device = arguments.checkpoint, resolve_device(arguments.device)
    check_belongs(checkpoint, read_header(checkpoint), arguments.split, arguments.family)
    with open_family(arguments.members, arguments.tiles, arguments.features) as data:
        rows = np.arange(len(data.tiles))
        store_maps(arguments.maps, checkpoint, data, rows, device=device, threads=arguments.threads, average_views=True)
