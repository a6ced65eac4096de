"""Stage `summarize`: all evaluations -> graded summary.csv, its origin, and the table that ends a run in the terminal."""

import argparse
import logging
from pathlib import Path

from cellvit.config.steps import SummarizeSettings
from cellvit.evaluation.summary import ORGAN_HEAD, ROUTED, summary_rows
from cellvit.evaluation.summary_table import summary_text
from cellvit.formats.atomic import write_text
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Document, read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.provenance import document_name, origin_of
from cellvit.formats.summary import SummaryOrigin, write_summary
from cellvit.formats.watershed import WatershedChoice

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--settings", type=SummarizeSettings.model_validate_json, required=True, help="JSON: gates")
    parser.add_argument("--evaluations", type=Path, nargs="+", required=True, help="JSON of every split and family")
    parser.add_argument("--routed", type=Path, nargs="+", required=True, help="JSON of all test tiles, one a split")
    parser.add_argument(
        "--organ-heads", type=Path, nargs="+", required=True, help="JSON of train_organ_head, one a split"
    )
    parser.add_argument("--watersheds", type=Path, nargs="*", default=[], help="JSON of every split and family")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--table", type=Path, required=True, help="text to write: the table for the terminal")
    parser.add_argument("--origin", type=Path, required=True, help="JSON to write: what both were made from")


def run(args: argparse.Namespace) -> None:
    """Write table and text, graded by the gates, then their origin; a grade never stops a run."""
    families = [read_document(path, FamilyEvaluation) for path in args.evaluations]
    routed = [read_document(path, RoutedEvaluation) for path in args.routed]
    organ_heads = [read_document(path, OrganHeadEvaluation) for path in args.organ_heads]
    watersheds = [read_document(path, WatershedChoice) for path in args.watersheds]
    keyed = summary_rows(families, routed, organ_heads, args.settings.quality)
    text = summary_text(
        keyed,
        marks=_marks([*families, *routed, *organ_heads]),
        warnings=[*_leaks(families), *_warnings(watersheds, routed)],
        absent=_absent([*families, *routed, *organ_heads]),
    )
    write_text(args.table, text)
    write_summary(args.out, [row for rows in keyed.values() for row in rows.values()])
    write_document(args.origin, _origin(args, [*families, *routed, *organ_heads, *watersheds]))
    log.info("summary splits=%d rows=%d\n%s", len(routed), sum(map(len, keyed.values())), text)


def _origin(args: argparse.Namespace, documents: list[Document]) -> SummaryOrigin:
    """What both tables were made from (`documents` in the order of the arguments), and their hashes."""
    paths = [*args.evaluations, *args.routed, *args.organ_heads, *args.watersheds]
    named = {document_name(document): (path, document) for path, document in zip(paths, documents, strict=True)}
    return SummaryOrigin(
        provenance=origin_of(documents=named, settings=args.settings.model_dump(mode="json")),
        tables={path.name: sha256_of(path) for path in (args.out, args.table)},
    )


def _marks(documents: list[Document]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mark for document in documents for mark in document.provenance.marks))


def _leaks(families: list[FamilyEvaluation]) -> list[str]:
    return [
        f"split {family.split}, {family.family}: {family.n_patients_trained_on} of {family.n_patients} test patients also "
        "trained the decoder, so that its figures are too good: deal folds by patient"
        for family in families
        if family.n_patients_trained_on
    ]


def _warnings(watersheds: list[WatershedChoice], routed: list[RoutedEvaluation]) -> list[str]:
    lines = [f"split {choice.split}, {choice.family}: {line}" for choice in watersheds for line in choice.warnings]
    lines += [
        f"split {choice.split}, {choice.family}: the watershed is not tuned: {choice.reason}"
        for choice in watersheds
        if choice.status == "default"
    ]
    return lines + [
        f"split {overall.split}, routed: {count} test tiles left out: {reason}"
        for overall in routed
        for reason, count in overall.left_out.items()
        if count
    ]


def _absent(documents: list[FamilyEvaluation | RoutedEvaluation | OrganHeadEvaluation]) -> dict[str, str]:
    return {_name(document): document.reason for document in documents if document.status == "absent"}


def _name(document: FamilyEvaluation | RoutedEvaluation | OrganHeadEvaluation) -> str:
    match document:
        case FamilyEvaluation():
            return f"split {document.split}, {document.family}"
        case RoutedEvaluation():
            return f"split {document.split}, {ROUTED}"
        case _:
            return f"split {document.split}, {ORGAN_HEAD}"
