"""Stage `index_predictions`: predictions of all images -> a page with thumbnails, and a table of counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.formats.documents import read_document
from cellvit.formats.prediction import SlideRun
from cellvit.prediction.outputs.index import write_index
from cellvit.workflow.arguments import Code, Input, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    runs: Annotated[tuple[Path, ...], Input("run.json of every image")]
    page: Annotated[Path, Output("HTML to write; the table lies beside it")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the page and the table.

    Raises:
        IntegrityError: The record of an image was changed after it was written; the index of a run leaves no image out.
    """
    for path in arguments.runs:
        read_document(path, SlideRun)
    write_index(arguments.page.parent)
