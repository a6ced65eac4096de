"""Findings and galleries -> one HTML page that opens offline."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellvit.report import sections
from cellvit.report.findings import Findings
from cellvit.report.gallery import HV_COLOURS, NP_COLOURS, Gallery, class_swatches
from cellvit.report.gates import advice_by_remedy, gate_counts, gate_tables
from cellvit.evaluation.images import colour_bar_png
from cellvit.report.origin import data_table
from cellvit.report.verdict import absent_lines, verdict_lines
from cellvit.report.wording import family_label, short_label

_PACKAGE = "cellvit.report"
_TEMPLATE = "index.html.j2"
_STYLE = "style.css"


def render(findings: Findings, galleries: Sequence[Gallery]) -> str:
    """The page; the same findings and galleries give the same bytes."""
    loader = PackageLoader(_PACKAGE, "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"family": family_label, "short": short_label}
    style, _, _ = loader.get_source(environment, _STYLE)
    return environment.get_template(_TEMPLATE).render(style=style, **_context(findings, galleries))


def _context(findings: Findings, galleries: Sequence[Gallery]) -> dict[str, Any]:
    """What the template names."""
    settings = findings.settings
    return {
        "marks": findings.marks,
        "encoder": settings.encoder,
        "verdict": verdict_lines(findings),
        "absent": absent_lines(findings),
        "headlines": sections.headline_parts(findings),
        "gate_counts": gate_counts(findings.summary),
        "gates": gate_tables(findings.summary, settings.gates.quality),
        "advice": advice_by_remedy(findings.summary),
        "families": sections.family_parts(findings),
        "organs": sections.organ_parts(findings),
        "training": sections.training_parts(findings),
        "checks": sections.data_parts(findings),
        "galleries": galleries,
        "swatches": class_swatches(),
        "np_bar": colour_bar_png(NP_COLOURS),
        "hv_bar": colour_bar_png(HV_COLOURS),
        "data": data_table(settings),
        "run": sections.run_parts(findings),
        "licences": tuple(dict.fromkeys(decoder.header.licence for decoder in findings.decoders)),
    }
