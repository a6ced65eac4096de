"""Stage `gather_families`: stores of one fold -> the list of its tiles that belong to a family."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.steps import GatherFamiliesSettings
from cellvit.formats.family import write_members
from cellvit.formats.tiles import open_tiles
from cellvit.workflow.arguments import Code, Input, Output, Setting, Through

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[GatherFamiliesSettings, Setting("JSON: organs of the family, and organs that are left out")]
    fold: Annotated[int, Setting("number of the fold")]
    tiles: Annotated[Path, Input("tile store of the fold")]
    features: Annotated[Path, Input("its feature store")]
    check: Annotated[Path, Through("check of its features, which must have passed")]
    members: Annotated[Path, Output("list of rows to write")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the list; a family without tiles in the fold gets an empty one."""
    settings = arguments.settings
    n = write_members(
        arguments.members,
        fold=arguments.fold,
        organs=settings.organs,
        tiles=arguments.tiles,
        features=arguments.features,
        left_out=settings.left_out_organs,
    )
    named = "all" if settings.organs is None else ",".join(settings.organs)
    log.info("members fold=%d organs=%s tiles=%d", arguments.fold, named, n)
    with open_tiles(arguments.tiles) as tiles:
        left_out = Counter(organ for organ in tiles.names("organ") if organ in settings.left_out_organs)
    for organ, count in sorted(left_out.items()):
        log.warning("left out fold=%d organ=%s tiles=%d (left_out_organs)", arguments.fold, organ, count)
