"""Sections of the page: which tables and charts stand under which heading."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cellvit.formats.documents import Values
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.report import integrity, origin, results
from cellvit.report.cells import Row, Table, figure_cell
from cellvit.report.comparison import Entry, comparison_chart
from cellvit.report.curves import chosen_epoch, training_curves
from cellvit.report.findings import Decoder, Findings
from cellvit.evaluation.images import svg_uri
from cellvit.report.organs import confusion_table
from cellvit.report.wording import family_label, interval_label, metric_of


@dataclass(frozen=True, slots=True)
class Part:
    """Tables and a chart under a heading that opens and closes.

    Attributes:
        chart: Data URI of the chart above the tables; empty where there is none.
        alt: What the chart shows, for those who cannot see it.
        note: Text under the heading.
    """

    heading: str
    tables: tuple[Table, ...] = ()
    chart: str = ""
    alt: str = ""
    note: str = ""


def headline_parts(findings: Findings) -> tuple[Part, ...]:
    """Means over splits, then a chart and a table a split: what a reader asks for first."""
    routed = {document.split: document for document in findings.routed}
    splits = dict.fromkeys(evaluation.split for evaluation in findings.evaluations)
    means = results.mean_table(findings.summary)
    first = (Part("Mean over splits", (means,)),) if means.rows else ()
    return first + tuple(_headline(findings, split, routed.get(split)) for split in splits)


def family_parts(findings: Findings) -> tuple[Part, ...]:
    """Everything measured of each decoder on its test tiles."""
    return tuple(_family(evaluation) for evaluation in findings.evaluations)


def organ_parts(findings: Findings) -> tuple[Part, ...]:
    """OrganHead and the routed run of each split."""
    heads = {document.split: document for document in findings.organ_heads}
    routed = {document.split: document for document in findings.routed}
    splits = dict.fromkeys((*heads, *routed))
    return tuple(_organs(split, heads.get(split), routed.get(split)) for split in splits)


def training_parts(findings: Findings) -> tuple[Part, ...]:
    """Curves of each decoder."""
    return tuple(_training(decoder) for decoder in findings.decoders)


def run_parts(findings: Findings) -> tuple[Part, ...]:
    """What was run: settings, hashes, software, times."""
    parts = [
        Part("Settings in full", (origin.settings_table(findings.settings),)),
        Part("Checkpoints", (origin.checkpoint_table(decoder.header for decoder in findings.decoders),)),
        Part("Hashes of the inputs", (origin.hash_table(findings),)),
        Part("Software", (origin.version_table(findings),)),
    ]
    if findings.timings:
        parts.append(Part("Times and memory", (origin.time_table(findings.timings),)))
    return tuple(parts)


def data_parts(findings: Findings) -> tuple[Part, ...]:
    """What held before anything was trained."""
    choices = [decoder.watershed for decoder in findings.decoders if decoder.watershed is not None]
    warnings = integrity.watershed_warnings(choices)
    parts = [
        Part("Targets and oracle: the ceiling of every decoder", (integrity.target_table(findings.target_checks),))
    ]
    if findings.fold_summaries:
        tables = integrity.fold_table(findings.fold_summaries), integrity.class_count_table(findings.fold_summaries)
        parts.append(Part("Folds as read", tables))
    if findings.feature_checks:
        parts.append(Part("Feature checks", (integrity.feature_table(findings.feature_checks),)))
    if choices:
        note = "Warnings: " + "; ".join(warnings) + "." if warnings else ""
        parts.append(Part("Watershed parameters", (integrity.watershed_table(choices),), note=note))
    return tuple(parts)


def _headline(findings: Findings, split: str, routed: RoutedEvaluation | None) -> Part:
    evaluations = [evaluation for evaluation in findings.evaluations if evaluation.split == split]
    entries = [
        Entry(family_label(evaluation.family), evaluation.systems)
        for evaluation in evaluations
        if evaluation.status == "evaluated"
    ]
    if routed is not None and routed.status == "evaluated":
        entries.append(Entry("all test tiles,\norgan predicted", results.as_decoder(routed.systems)))
    table = results.headline_table(evaluations, routed, split)
    if not entries:
        return Part(f"split {split}", (table,))
    alt = (
        f"AJI, bPQ and mPQ of each family on the test tiles of split {split}, with 95 % intervals, for the family "
        "decoder, one decoder for all organs, the classical baseline and the oracle. The table below has the figures."
    )
    return Part(f"split {split}", (table,), svg_uri(comparison_chart(entries)), alt)


def _family(evaluation: FamilyEvaluation) -> Part:
    heading = f"split {evaluation.split} · {family_label(evaluation.family)}"
    if evaluation.status == "absent":
        return Part(heading, note=f"Absent: {evaluation.reason}")
    tables = (
        results.metrics_table(evaluation, "All nuclei"),
        results.class_table(evaluation, "By class"),
        results.organ_table(evaluation, "By organ"),
        results.gap_table(evaluation),
        _figures_table("Paired differences on the same tiles", evaluation.differences, results.small_print(evaluation)),
    )
    label = interval_label(evaluation.n_patients, evaluation.n_tiles_without_patient)
    note = f"{evaluation.n_tiles:,} test tiles with {evaluation.n_nuclei:,} nuclei; {label}."
    if evaluation.n_patients_trained_on:
        note += (
            f" {evaluation.n_patients_trained_on:,} of these patients also trained the decoder: these figures are too good. "
            "Deal folds by patient."
        )
    return Part(heading, tuple(table for table in tables if table.rows), note=note)


def _organs(split: str, head: OrganHeadEvaluation | None, routed: RoutedEvaluation | None) -> Part:
    notes = []
    for name, document in (("OrganHead", head), ("The routed evaluation", routed)):
        if document is not None and document.status == "absent":
            notes.append(f"{name} is absent: {document.reason}.")
    if head is not None and head.status == "evaluated":
        fitted = "" if math.isnan(head.temperature) else f"; temperature {head.temperature:.3g}"
        notes.append(f"{head.n_tiles:,} test tiles{fitted}.")
        notes += [
            f"{count} test tiles of {organ}, which no training tile shows." for organ, count in head.unseen.items()
        ]
    return Part(f"split {split}", (*_organ_head_tables(head), *_routed_tables(routed)), note=" ".join(notes))


def _organ_head_tables(document: OrganHeadEvaluation | None) -> Iterable[Table]:
    if document is None or document.status == "absent":
        return
    yield _figures_table("OrganHead on all test tiles", document.figures, results.small_print(document))
    yield confusion_table(document.organ_names, document.confusion, "Confusion of organs on test tiles")


def _routed_tables(document: RoutedEvaluation | None) -> Iterable[Table]:
    if document is None or document.status == "absent":
        return
    yield results.metrics_table(document, "All test tiles, each decoded by the family of its predicted organ")
    yield results.class_table(document, "The same by class")
    if document.organs:
        yield results.organ_table(document, "The same by organ")


def _training(decoder: Decoder) -> Part:
    heading = f"split {decoder.header.split} · {family_label(decoder.header.family)}"
    if not len(decoder.history):
        return Part(heading, note=f"Nothing was trained: {decoder.header.reason}")
    epoch = chosen_epoch(decoder.history)
    note = f"{len(decoder.history)} epochs; epoch {epoch} was kept ({decoder.header.selection})."
    alt = (
        f"Training curves, {heading}: every part of the loss on training and validation folds, and NP Dice, HV MSE, "
        f"HV skill, HV magnitude, NT accuracy and bPQ on validation folds, over {len(decoder.history)} epochs. {note}"
    )
    return Part(heading, chart=svg_uri(training_curves(decoder.history)), alt=alt, note=note)


def _figures_table(caption: str, figures: Values, note: str) -> Table:
    rows = tuple(
        Row(metric_of(name).label, (figure_cell(figure),), note=metric_of(name).convention)
        for name, figure in figures.items()
    )
    return Table(caption, "Metric", ("Test tiles",), rows, note=note, kind="results")
