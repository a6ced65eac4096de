"""Findings and galleries -> one HTML page that opens offline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellvit.contracts.documents import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.report import gates, integrity, organs, origin, results
from cellvit.report.cells import Table
from cellvit.report.comparison import Entry, comparison_chart
from cellvit.report.curves import chosen_epoch, training_curves
from cellvit.report.findings import Findings
from cellvit.report.gallery import HV_COLOURS, NP_COLOURS, Gallery, class_swatches
from cellvit.report.images import colour_bar_png, svg_uri
from cellvit.report.verdict import absent_lines, verdict_lines
from cellvit.report.wording import family_label, split_label

_PACKAGE = "cellvit.report"
_TEMPLATE = "page.html.j2"
_STYLE = "page.css"


@dataclass(frozen=True, slots=True)
class Part:
    """Tables under a heading that opens and closes.

    Attributes:
        chart: Data URI of a chart above the tables; empty where there is none.
        alt: What the chart shows, for those who cannot see it.
        note: Text under the heading.
    """

    heading: str
    tables: tuple[Table, ...] = ()
    chart: str = ""
    alt: str = ""
    note: str = ""


def render(findings: Findings, galleries: Sequence[Gallery]) -> str:
    """The page; the same findings give the same bytes."""
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    assert loader is not None
    style, _, _ = loader.get_source(environment, _STYLE)
    return environment.get_template(_TEMPLATE).render(style=style, **_context(findings, galleries))
