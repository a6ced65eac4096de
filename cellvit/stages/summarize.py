"""Stage `summarize`: all evaluations -> graded summary.csv, its origin, and the text whose start ends a run in the terminal."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.steps import SummarizeSettings
from cellvit.evaluation.decoder_choice import choices_in_words
from cellvit.evaluation.summary import ORGAN_HEAD, summary_rows, with_plain_name
from cellvit.evaluation.summary_table import summary_text
from cellvit.evaluation.training_record import TrainingRecord, training_record
from cellvit.formats.atomic import write_text
from cellvit.formats.checkpoints import CheckpointHeader, read_header
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
from cellvit.taxonomy import ONE_DECODER, SHARED_FAMILY
from cellvit.workflow.arguments import Code, Input, Output, Setting, check_paired

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[SummarizeSettings, Setting("JSON: quality gates")]
    evaluations: Annotated[tuple[Path, ...], Input("JSONs of evaluate_family, of every split and family")]
    repeats: Annotated[tuple[Path, ...], Input("JSONs of evaluate_family, of decoders of further seeds")] = ()
    routed: Annotated[tuple[Path, ...], Input("JSONs of evaluate_routed, one per split")] = ()
    organ_heads: Annotated[tuple[Path, ...], Input("JSONs of evaluate_organ_head, one per split")] = ()
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
    name_of = _names(families)
    named: list[tuple[str, Evaluation]] = [(f"split {one.split}, {name_of[one.family]}", one) for one in families]
    named += [(f"split {one.split}, {ORGAN_PREDICTED}", one) for one in routed]
    named += [(f"split {one.split}, {ORGAN_HEAD}", one) for one in organ_heads]
    repeats = [read_document(path, FamilyEvaluation) for path in arguments.repeats]
    headers = list(map(read_header, arguments.checkpoints))
    keyed = summary_rows(families, routed, organ_heads, arguments.settings.quality, repeats)
    text = summary_text(
        with_plain_name(keyed),
        records={
            (split, name_of.get(family, family)): record
            for (split, family), record in _records(headers, arguments.histories, has_shared=SHARED_FAMILY in name_of)
        },
        marks=list(dict.fromkeys(mark for _, document in named for mark in document.provenance.marks)),
        warnings=[*_warnings(families, watersheds, routed, name_of), *_warnings_of_starts(headers)],
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
    log.info("summary splits=%d rows=%d", len({one.split for one in families}), sum(map(len, keyed.values())))


def _names(families: Sequence[FamilyEvaluation]) -> dict[str, str]:
    """What each family is called in the text: the only decoder of a run is just the decoder."""
    names = {one.family: one.family for one in families}
    return {SHARED_FAMILY: ONE_DECODER} if set(names) == {SHARED_FAMILY} else names


def _records(
    headers: Sequence[CheckpointHeader], histories: Sequence[Path], *, has_shared: bool
) -> Iterator[tuple[tuple[str, str], TrainingRecord]]:
    """How the decoders were trained, by split and family."""
    for header, history in zip(headers, histories, strict=True):
        check_table(history, header.tables, "history")
        record = training_record(header, read_history(history), has_shared=has_shared)
        yield (header.split, header.family), record


def _warnings(
    families: Sequence[FamilyEvaluation],
    watersheds: Sequence[WatershedChoice],
    routed: Sequence[RoutedEvaluation],
    name_of: Mapping[str, str],
) -> Iterator[str]:
    for family in families:
        if family.n_patients and family.n_patients + family.n_tiles_without_patient < MIN_UNITS:
            yield f"split {family.split}, {name_of[family.family]}: fewer than {MIN_UNITS} test patients: no interval"
        if family.n_patients_trained_on:
            yield (
                f"split {family.split}, {name_of[family.family]}: {family.n_patients_trained_on} of {family.n_patients} test "
                "patients also trained the decoder, so that its values are too good: make the folds by patient"
            )
    for choice in watersheds:
        if choice.status == "default":
            name = name_of.get(choice.family, choice.family)
            yield f"split {choice.split}, {name}: the watershed is not tuned: {choice.reason}"
    for where, missing in (
        *((f"split {one.split}, {name_of.get(one.family, one.family)}", one.not_annotated) for one in families),
        *((f"split {one.split}, {ORGAN_PREDICTED}", one.not_annotated) for one in routed),
    ):
        if missing.n_wholly:
            yield f"{where}: test tiles that are not scored, because no pixel of them is annotated: {missing.n_wholly}"
    for overall in routed:
        for reason, count in overall.left_out.items():
            yield f"split {overall.split}, {ORGAN_PREDICTED}: {count} test tiles left out: {reason}"


def _warnings_of_starts(headers: Sequence[CheckpointHeader]) -> Iterator[str]:
    for header in headers:
        if header.start is not None and header.start.n_validation_tiles_seen:
            yield (
                f"split {header.split}, {header.family}: the start weights ({header.start.file}) have seen "
                f"{header.start.n_validation_tiles_seen} of {header.tiles['validate']} validation tiles, so that the selected "
                "step and the decoding may fit them too well"
            )
