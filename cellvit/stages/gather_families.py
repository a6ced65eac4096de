"""Stage `gather_families`: stores of one fold -> the list of its tiles that belong to a family."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.steps import GatherFamiliesSettings
from cellvit.formats.family import write_members
from cellvit.workflow.arguments import Code, Input, Output, Setting, Through

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[GatherFamiliesSettings, Setting("JSON: organs of the family")]
    fold: Annotated[int, Setting("number of the fold")]
    tiles: Annotated[Path, Input("tile store of the fold")]
    features: Annotated[Path, Input("its feature store")]
    check: Annotated[Path, Through("check of its features, which must have passed")]
    members: Annotated[Path, Output("list of rows to write")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the list; a family without tiles in the fold gets an empty one."""
    organs = arguments.settings.organs
    n = write_members(
        arguments.members, fold=arguments.fold, organs=organs, tiles=arguments.tiles, features=arguments.features
    )
    log.info("members fold=%d organs=%s tiles=%d", arguments.fold, ",".join(organs), n)
