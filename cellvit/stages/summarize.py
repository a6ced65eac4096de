"""Stage `summarize`: all evaluations -> graded summary.csv, its origin, and the text whose start ends a run in the terminal."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.steps import SummarizeSettings
from cellvit.evaluation.decoder_choice import choices_in_words
from cellvit.evaluation.summary import ORGAN_HEAD, summary_rows
from cellvit.evaluation.summary_table import summary_text
from cellvit.evaluation.training_record import TrainingRecord, training_record
from cellvit.formats.atomic import write_text
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import check_table, sha256_of
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.evaluations import (
    ORGAN_PREDICTED,
    Evaluation,
    FamilyEvaluation,
    OrganHeadEvaluation,
    RoutedEvaluation,
)
from cellvit.formats.history import read_history
from cellvit.formats.summary import SummaryOrigin, write_summary
from cellvit.formats.watershed import WatershedChoice
from cellvit.metrics.intervals import MIN_UNITS
from cellvit.workflow.arguments import Code, Input, Output, Setting, check_paired

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[SummarizeSettings, Setting("JSON: quality gates")]
    evaluations: Annotated[tuple[Path, ...], Input("JSONs of evaluate_family, of every split and family")]
    repeats: Annotated[tuple[Path, ...], Input("JSONs of evaluate_family, of decoders of further seeds")] = ()
    routed: Annotated[tuple[Path, ...], Input("JSONs of evaluate_routed, one per split")]
    organ_heads: Annotated[tuple[Path, ...], Input("JSONs of evaluate_organ_head, one per split")]
    watersheds: Annotated[tuple[Path, ...], Input("JSONs of tune_watershed, of every split and family")] = ()
    checkpoints: Annotated[tuple[Path, ...], Input("decoders, of every split and family")] = ()
    histories: Annotated[tuple[Path, ...], Input("histories of their trainings, in the same order")] = ()
    summary: Annotated[Path, Output("CSV to write")]
    table: Annotated[Path, Output("text to write: conclusion, main values, advice and warnings")]
    origin: Annotated[Path, Output("JSON to write: what both were made from")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write table and text, graded by the quality gates, then their origin; a grade never stops a run."""
    check_paired(checkpoints=arguments.checkpoints, histories=arguments.histories)
    families = [read_document(path, FamilyEvaluation) for path in arguments.evaluations]
    routed = [read_document(path, RoutedEvaluation) for path in arguments.routed]
    organ_heads = [read_document(path, OrganHeadEvaluation) for path in arguments.organ_heads]
    watersheds = [read_document(path, WatershedChoice) for path in arguments.watersheds]
    named: list[tuple[str, Evaluation]] = [(f"split {one.split}, {one.family}", one) for one in families]
    named += [(f"split {one.split}, {ORGAN_PREDICTED}", one) for one in routed]
    named += [(f"split {one.split}, {ORGAN_HEAD}", one) for one in organ_heads]
    repeats = [read_document(path, FamilyEvaluation) for path in arguments.repeats]
    keyed = summary_rows(families, routed, organ_heads, arguments.settings.quality, repeats)
    text = summary_text(
        keyed,
        records=dict(map(_record, arguments.checkpoints, arguments.histories)),
        marks=list(dict.fromkeys(mark for _, document in named for mark in document.provenance.marks)),
        warnings=list(_warnings(families, watersheds, routed)),
        decoders=choices_in_words([choice for one in routed for choice in one.decoders], n_splits=len(routed)),
        absent={name: document.reason for name, document in named if document.status == "absent"},
    )
    write_text(arguments.table, text)
    write_summary(arguments.summary, [row for rows in keyed.values() for row in rows.values()])
    inputs = [
        *arguments.evaluations,
        *arguments.repeats,
        *arguments.routed,
        *arguments.organ_heads,
        *arguments.watersheds,
    ]
    inputs += [*arguments.checkpoints, *arguments.histories]
    origin = SummaryOrigin(
        provenance=provenance_of(arguments.origin, inputs, arguments.settings.model_dump(mode="json")),
        tables={path.name: sha256_of(path) for path in (arguments.summary, arguments.table)},
    )
    write_document(arguments.origin, origin)
    log.info("summary splits=%d rows=%d", len(routed), sum(map(len, keyed.values())))


def _record(checkpoint: Path, history: Path) -> tuple[tuple[str, str], TrainingRecord]:
    """How a decoder was trained, by split and family."""
    header = read_header(checkpoint)
    check_table(history, header.tables, "history")
    return (header.split, header.family), training_record(header, read_history(history))


def _warnings(
    families: Sequence[FamilyEvaluation], watersheds: Sequence[WatershedChoice], routed: Sequence[RoutedEvaluation]
) -> Iterator[str]:
    for family in families:
        if family.n_patients and family.n_patients + family.n_tiles_without_patient < MIN_UNITS:
            yield f"split {family.split}, {family.family}: fewer than {MIN_UNITS} test patients: no interval"
        if family.n_patients_trained_on:
            yield (
                f"split {family.split}, {family.family}: {family.n_patients_trained_on} of {family.n_patients} test "
                "patients also trained the decoder, so that its values are too good: make the folds by patient"
            )
    for choice in watersheds:
        if choice.status == "default":
            yield f"split {choice.split}, {choice.family}: the watershed is not tuned: {choice.reason}"
    for overall in routed:
        for reason, count in overall.left_out.items():
            yield f"split {overall.split}, {ORGAN_PREDICTED}: {count} test tiles left out: {reason}"
