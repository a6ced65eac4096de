"""Data of a run -> one HTML page that opens offline."""

from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellvit.evaluation.images import CLASS_COLOURS, HV_COLOURS, NP_COLOURS, colour_bar_png
from cellvit.report import gates, sections, verdict
from cellvit.report.data import ReportData
from cellvit.report.origin import data_table
from cellvit.report.wording import decoder_label, short_label
from cellvit.taxonomy import CLASS_NAMES, NUCLEUS_CLASSES, NucleusClass

_LEGEND: Final = (*NUCLEUS_CLASSES, NucleusClass.BACKGROUND)
"""Classes in the order of the legend; the background has a colour in NT maps only."""


def render(data: ReportData) -> str:
    """The page; the same data give the same bytes."""
    loader = PackageLoader("cellvit.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"decoder": decoder_label, "short": short_label}
    style, _, _ = loader.get_source(environment, "style.css")
    return environment.get_template("index.html.j2").render(style=style, **_context(data))


def _context(data: ReportData) -> dict[str, Any]:
    """Variables of the template."""
    return {
        "marks": data.marks,
        "encoder": data.settings.encoder,
        "verdict": verdict.verdict_lines(data),
        "absent": verdict.absent_lines(data),
        "headlines": sections.headline_parts(data),
        "gate_counts": gates.gate_counts(data.summary),
        "gates": gates.gate_tables(data.summary, data.settings),
        "advice": gates.advice_by_fix(data.summary),
        "galleries": sections.shown_galleries(data),
        "swatches": {CLASS_NAMES[member]: CLASS_COLOURS[member] for member in _LEGEND},
        "np_bar": colour_bar_png(NP_COLOURS),
        "hv_bar": colour_bar_png(HV_COLOURS),
        "families": sections.family_parts(data),
        "organs": sections.organ_parts(data),
        "training": sections.training_parts(data),
        "checks": sections.check_parts(data),
        "data": data_table(data.settings),
        "run": sections.run_parts(data),
        "licences": tuple(dict.fromkeys(decoder.header.licence for decoder in data.decoders)),
    }
