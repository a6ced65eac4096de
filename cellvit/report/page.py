"""Data of a run -> one HTML page that opens offline: which tables, charts and galleries are under which heading."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cellvit.evaluation.grading import grade_counts
from cellvit.evaluation.images import HATCH_COLOUR, HV_COLOURS, NP_COLOURS, colour_bar_png, svg_uri
from cellvit.evaluation.scale_bar import scale_bar
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.gallery import Gallery
from cellvit.report import (
    confusion,
    counts,
    decoders,
    doubt,
    exhibits,
    final,
    integrity,
    origin,
    results,
    sources,
    verdict,
)
from cellvit.report.cells import Table
from cellvit.report.charts import comparison_chart, training_curves
from cellvit.report.data import Decoder, ReportData
from cellvit.report.matrix import organ_matrix
from cellvit.report.next_steps import next_steps
from cellvit.report.published import published_table
from cellvit.report.templates import rendered
from cellvit.report.wording import counted, decoder_label, family_label, interval_label, not_annotated_text, start_line
from cellvit.taxonomy import TILE_PX


class Part(NamedTuple):
    """A heading that opens and closes: a note, a chart (data URI, and `alt` for readers who cannot see it), tables."""

    heading: str
    tables: tuple[Table, ...] = ()
    chart: str = ""
    alt: str = ""
    note: str = ""


def render(data: ReportData) -> str:
    """The page; the same data give the same bytes."""
    return rendered("index.html.j2", **_context(data))


def _context(data: ReportData) -> dict[str, Any]:
    """Variables of the template."""
    galleries = exhibits.shown_galleries(data)
    return {
        "marks": data.marks,
        "encoder": data.settings.encoder,
        "verdict": verdict.verdict_lines(data),
        "absent": verdict.absent_lines(data),
        "headlines": _headline_parts(data),
        "steps": next_steps(data),
        "published": _with_rows([published_table(data)]),
        "final_note": final.EXPLANATION,
        "final_tables": _with_rows([final.final_table(data.finals, data.summary)]),
        "decoder_lines": decoders.decoder_lines(data.routed),
        "decoder_tables": _with_rows(map(decoders.decoder_table, data.routed)),
        **_gallery_context(data, galleries),
        "counts_note": counts.EXPLANATION,
        "nuclei": _nuclei_parts(data),
        "matrices": _matrix_parts(data),
        "gate_counts": grade_counts(data.summary),
        "gates": verdict.gate_tables(data.summary, data.settings),
        "has_families": data.settings.families is not None,
        "has_shared": any(decoder.is_shared for decoder in data.decoders),
        "sources": _source_parts(data),
        "families": tuple(map(_family, data.evaluations)),
        "organs": _organ_parts(data),
        "doubt_lines": doubt.conclusions(data.calibrations, data.novelties),
        "doubt_note": doubt.EXPLANATION,
        "doubt": _doubt_parts(data),
        "training": tuple(map(_training, data.decoders)),
        "checks": _check_parts(data),
        "data": origin.data_table(data.settings, data.dataset),
        "machine": origin.machine_table(data),
        "run": _run_parts(data),
        "licences": tuple(
            dict.fromkeys(one.header.licence or data.dataset.licence_of_weights for one in data.decoders)
        ),
    }


def _gallery_context(data: ReportData, galleries: Sequence[Gallery]) -> dict[str, Any]:
    """Variables of the galleries."""
    return {
        "rooms": exhibits.rooms(galleries, data.dataset),
        "views": exhibits.VIEWS,
        "class_legend": exhibits.class_legend(data.dataset),
        "outcome_legend": exhibits.outcome_legend(),
        "bar": scale_bar(data.dataset.mpp, TILE_PX),
        "hatch": HATCH_COLOUR if any(tile.not_annotated for one in galleries for tile in one.tiles) else "",
        "tile_um": TILE_PX * data.dataset.mpp,
        "np_bar": colour_bar_png(NP_COLOURS),
        "hv_bar": colour_bar_png(HV_COLOURS),
    }


def _headline_parts(data: ReportData) -> tuple[Part, ...]:
    """Means over splits, then a chart and a table for each split."""
    routed = {document.split: document for document in data.routed}
    splits = dict.fromkeys(evaluation.split for evaluation in data.evaluations)
    means = results.mean_table(data.summary)
    first = (Part("Mean over splits", (means,)),) if means.rows else ()
    return first + tuple(_headline(data, split, routed.get(split)) for split in splits)


def _nuclei_parts(data: ReportData) -> tuple[Part, ...]:
    """Confusion of classes and counts of nuclei on all test tiles of each split."""
    parts = []
    for split in dict.fromkeys(one.header.split for one in data.decoders):
        tiles = counts.scores_of_split(data.decoders, split)
        if tiles is not None:
            table = counts.count_table(tiles, data.dataset, split)
            alt = f"Predicted against true nuclei of each test tile of split {split}, by class. {table.caption} has the values."
            tables = _with_rows([counts.confusion_of(tiles, data.dataset, split), table])
            parts.append(Part(f"split {split}", tables, svg_uri(counts.count_chart(tiles, data.dataset)), alt))
    return tuple(parts)


def _matrix_parts(data: ReportData) -> tuple[Part, ...]:
    """Organ by metric of each split, without the shared decoder, whose tiles are the same."""
    evaluations = [one.evaluation for one in data.decoders if one.evaluation is not None and not one.is_shared]
    splits = dict.fromkeys(one.split for one in evaluations)
    tables = {split: organ_matrix([one for one in evaluations if one.split == split], split) for split in splits}
    return tuple(Part(f"split {split}", (table,)) for split, table in tables.items() if table.rows)


def _organ_parts(data: ReportData) -> tuple[Part, ...]:
    """OrganHead and the routed evaluation of each split: their values, and then what few readers need."""
    heads = {document.split: document for document in data.organ_heads}
    routed = {document.split: document for document in data.routed}
    splits = dict.fromkeys((*heads, *routed))
    parts = [part for split in splits for part in _organs(split, heads.get(split), routed.get(split))]
    return tuple(part for part in parts if part.tables or part.note)


def _source_parts(data: ReportData) -> tuple[Part, ...]:
    """Values by source of the tiles; nothing where no tile names its source."""
    tables = _with_rows([sources.source_table(data.evaluations)])
    return (Part(sources.HEADING, tables, note=sources.EXPLANATION),) if tables else ()


def _doubt_parts(data: ReportData) -> tuple[Part, ...]:
    """Reliability of the decoders and bounds of their counts by split, then tiles unlike the training data."""
    parts = []
    for split in dict.fromkeys(one.split for one in data.calibrations):
        of_split = [one for one in data.calibrations if one.split == split]
        chart, alt = doubt.reliability_chart(of_split)
        parts.append(Part(f"Class probabilities, split {split}", (doubt.probability_table(of_split),), chart, alt))
        counts = _with_rows(map(doubt.count_table, of_split))
        parts.append(Part(f"Intervals of counts, split {split}", counts))
    parts.append(Part("Tiles unlike the training data", _with_rows([doubt.novelty_table(data.novelties)])))
    return tuple(part for part in parts if part.tables)


def _check_parts(data: ReportData) -> tuple[Part, ...]:
    """Integrity checks and what was chosen before the test."""
    targets = integrity.target_table(data.target_checks), integrity.upper_bound_table(data.target_checks)
    folds = (
        integrity.fold_table(data.fold_summaries),
        integrity.class_count_table(data.fold_summaries, data.dataset),
        integrity.own_data_table(data.own_checks, data.dataset),
    )
    parts = (
        Part("Targets and upper bound: the best that a decoder can reach", _with_rows(targets)),
        Part("Folds as read", _with_rows(folds), note=" ".join(data.data_warnings)),
        Part("Feature checks", _with_rows([integrity.feature_table(data.feature_checks)])),
        Part("Watershed parameters", _with_rows([integrity.watershed_table(data.watersheds, data.dataset)])),
    )
    return tuple(part for part in parts if part.tables)


def _run_parts(data: ReportData) -> tuple[Part, ...]:
    """What was run: settings, digests, software, times."""
    parts = (
        Part("Settings in full", (origin.settings_table(data.settings),)),
        Part("Checkpoints", (origin.checkpoint_table(data),)),
        Part("Digests of the inputs", (origin.digest_table(data),)),
        Part("Times and memory", _with_rows([origin.time_table(data.timings)])),
    )
    return tuple(part for part in parts if part.tables)


def _with_rows(tables: Iterable[Table]) -> tuple[Table, ...]:
    return tuple(table for table in tables if table.rows)


def _headline(data: ReportData, split: str, routed: RoutedEvaluation | None) -> Part:
    evaluations = [evaluation for evaluation in data.evaluations if evaluation.split == split]
    rows = {family_label(one.family): one.systems for one in evaluations if one.status == "evaluated"}
    if routed is not None and routed.status == "evaluated":
        rows[family_label("organ_predicted")] = results.as_decoder(routed.systems)
    table = results.headline_table(evaluations, routed, split, data.summary)
    if not rows:
        return Part(f"split {split}", (table,))
    whose, shared = ("of each family ", "the shared decoder, ") if data.settings.families is not None else ("", "")
    alt = (
        f"AJI, bPQ and mPQ {whose}on the test tiles of split {split}, with 95 % intervals, for the decoder, "
        f"{shared}the classical baseline and the upper bound. The table below has the same values."
    )
    return Part(f"split {split}", (table,), svg_uri(comparison_chart(rows)), alt)


def _family(evaluation: FamilyEvaluation) -> Part:
    heading = decoder_label(evaluation.split, evaluation.family)
    if evaluation.status == "absent":
        return Part(heading, note=f"Absent: {evaluation.reason}")
    differences = "Paired differences on the same tiles"
    tables = (
        results.metrics_table(evaluation, "All nuclei"),
        results.class_table(evaluation, "By class"),
        confusion.class_confusion_table(evaluation.class_confusion, evaluation.dataset, "Confusion of nuclear classes"),
        results.organ_table(evaluation, "By organ"),
        results.gap_table(evaluation),
        results.values_table(differences, evaluation.differences, results.small_print(evaluation)),
    )
    label = interval_label(evaluation.n_patients, evaluation.n_tiles_without_patient)
    note = f"{evaluation.n_tiles:,} test tiles with {evaluation.n_nuclei:,} nuclei; {label}."
    note += f" {not_annotated_text(evaluation.not_annotated)}".rstrip()
    if evaluation.n_patients_trained_on:
        note += (
            f" The decoder was also trained on tiles of {evaluation.n_patients_trained_on:,} of these patients: these "
            "values are too good. Fix: put all tiles of a patient into one fold."
        )
    return Part(heading, _with_rows(tables), note=note)


def _organs(split: str, head: OrganHeadEvaluation | None, routed: RoutedEvaluation | None) -> Iterator[Part]:
    notes, tables, confusions = [], [], []
    if head is not None and head.status == "evaluated":
        fitted = "" if math.isnan(head.temperature) else f"; temperature {head.temperature:.3g}"
        notes.append(f"{head.n_tiles:,} test tiles{fitted}.")
        notes += [
            f"{counted(count, 'test tile')} of {organ}, an organ without training tiles."
            for organ, count in head.unseen.items()
        ]
        tables.append(results.values_table("OrganHead on all test tiles", head.values, results.small_print(head)))
        caption = "Confusion of organs on test tiles"
        confusions.append(confusion.confusion_table(head.organ_names, head.confusion, caption))
    for name, document in (("OrganHead", head), ("The routed evaluation", routed)):
        if document is not None and document.status == "absent":
            notes.append(f"{name} is absent: {document.reason}.")
    yield Part(f"split {split}", _with_rows(tables), note=" ".join(notes))
    yield Part(f"split {split}: which organs are confused", _with_rows(confusions))
    if routed is not None and routed.status == "evaluated":
        yield Part(
            f"split {split}: values with the organ predicted",
            _with_rows(_routed_tables(routed)),
            note=not_annotated_text(routed.not_annotated),
        )


def _routed_tables(routed: RoutedEvaluation) -> tuple[Table, ...]:
    caption = "Confusion of nuclear classes, organ predicted"
    return (
        results.metrics_table(routed, "All test tiles, each decoded by the decoder of its predicted organ"),
        results.class_table(routed, "The same by class"),
        confusion.class_confusion_table(routed.class_confusion, routed.dataset, caption),
        results.organ_table(routed, "The same by organ"),
    )


def _training(decoder: Decoder) -> Part:
    header = decoder.header
    heading = decoder_label(header.split, header.family)
    if not len(decoder.history):
        return Part(heading, note=f"Nothing was trained: {header.reason}")
    last = decoder.history.iloc[-1]
    steps = f"{last['step']:.0f} steps ({last['epochs']:.1f} epochs)"
    note = f"{steps}; step {header.step} was selected ({header.selection})."
    if header.start is not None:
        note += start_line(header.start, header.tiles.get("validate", 0))
    alt = (
        f"Training curves, {heading}: every part of the loss on training and validation folds, and NP Dice, HV MSE, HV "
        f"skill, HV angle error and length, NT accuracy and the metric that selects the step on validation folds, over "
        f"{steps}. {note}"
    )
    return Part(heading, chart=svg_uri(training_curves(decoder.history, selected=header.step)), alt=alt, note=note)
