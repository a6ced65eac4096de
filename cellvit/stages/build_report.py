"""Stage `build_report`: documents, tables, histories and galleries of a run -> report/index.html, which opens offline."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd

from cellvit.config.steps import BuildReportSettings
from cellvit.errors import StaleFileError
from cellvit.evaluation.scoring import columns_of
from cellvit.evaluation.summary import with_plain_name
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import CheckpointHeader, read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.digests import check_table, remake
from cellvit.formats.documents import AnyDocument, read_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.features import FeatureCheck
from cellvit.formats.gallery import Gallery
from cellvit.formats.history import read_history
from cellvit.formats.novelty import read_novelty_header
from cellvit.formats.own_check import OwnDataCheck
from cellvit.formats.page import write_page
from cellvit.formats.summary import SummaryOrigin, read_summary
from cellvit.formats.tile_table import read_tile_scores
from cellvit.formats.tiles import FoldsCheck, FoldSummary, TargetCheck
from cellvit.formats.timing import read_timings
from cellvit.formats.watershed import WatershedChoice
from cellvit.report.data import Decoder, ReportData, by_split, keyed, pair_decoders, pair_finals
from cellvit.report.page import render
from cellvit.workflow.arguments import Code, Input, Output, Setting, Through, check_paired

log = logging.getLogger(__name__)

Paths = tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes. Lists may be in any order, but tables follow the order of their documents."""

    settings: Annotated[BuildReportSettings, Setting("JSON: all settings of the run")]
    summary: Annotated[Path, Input("summary.csv")]
    summary_origin: Annotated[Path, Input("summary.json, which holds the digest of summary.csv")]
    evaluations: Annotated[Paths, Input("evaluations of the families")]
    tables: Annotated[Paths, Input("tables of the test tiles, in the order of --evaluations")]
    galleries: Annotated[Paths, Input("galleries of the families")]
    routed: Annotated[Paths, Input("evaluations with the organ predicted")] = ()
    organ_heads: Annotated[Paths, Input("evaluations of OrganHead")] = ()
    checkpoints: Annotated[Paths, Input("decoders")]
    histories: Annotated[Paths, Input("training histories, in the order of --checkpoints")]
    watersheds: Annotated[Paths, Input("watershed choices")]
    calibrations: Annotated[Paths, Input("calibrations of the decoders")] = ()
    novelties: Annotated[Paths, Input("novelty models of the splits")] = ()
    folds: Annotated[Paths, Input("summaries of the folds")]
    folds_check: Annotated[Paths, Input("check that no image has two roles in a split")] = ()
    own_data: Annotated[Paths, Input("check of a user's data set; none in PanNuke's layout")] = ()
    target_checks: Annotated[Paths, Input("target checks of the folds")]
    feature_checks: Annotated[Paths, Input("feature checks of the folds")]
    finals: Annotated[Paths, Input("final models, if they were trained: decoders and OrganHead")] = ()
    final_watersheds: Annotated[Paths, Input("watershed choices of the final decoders")] = ()
    timings: Annotated[Paths, Through("timings of the jobs")] = ()
    page: Annotated[Path, Output("HTML page to write")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the page.

    Raises:
        SettingsError: Tables and their documents are not in pairs.
        IntegrityError: A document or table was changed after it was written.
        StaleFileError: The summary was made from another version of a file.
    """
    check_paired(evaluations=arguments.evaluations, tables=arguments.tables)
    check_paired(checkpoints=arguments.checkpoints, histories=arguments.histories)
    settings = arguments.settings.model_dump(mode="json", by_alias=True)  # `cellvit compare` loads them again
    provenance = provenance_of(arguments.page, _inputs(arguments), settings)
    _check_summary(arguments, provenance.made_from)
    data = _read(arguments, provenance.dataset, provenance.marks)
    for organ, count in data.left_out.items():
        log.warning("left out organ=%s tiles=%d of all folds (left_out_organs)", organ, count)
    page = render(data)
    write_page(arguments.page, page, provenance)
    log.info("report path=%s megabytes=%.1f decoders=%d", arguments.page, len(page) / 1e6, len(data.decoders))


def _inputs(arguments: Arguments) -> Paths:
    """Everything that the page is made from, except the timings."""
    tables = (arguments.summary, arguments.summary_origin, *arguments.tables, *arguments.histories)
    evaluations = (*arguments.evaluations, *arguments.galleries, *arguments.routed, *arguments.organ_heads)
    checks = (
        *arguments.folds,
        *arguments.folds_check,
        *arguments.own_data,
        *arguments.target_checks,
        *arguments.feature_checks,
    )
    doubt = (*arguments.calibrations, *arguments.novelties)
    finals = (*arguments.finals, *arguments.final_watersheds)
    return (*tables, *evaluations, *checks, *arguments.checkpoints, *arguments.watersheds, *doubt, *finals)


def _check_summary(arguments: Arguments, made_from: Mapping[str, str]) -> None:
    """Refuse files of another run than that of the summary, such as a decoder with its history: the page would show both."""
    origin = read_document(arguments.summary_origin, SummaryOrigin)
    check_table(arguments.summary, origin.tables, "summary.csv")
    present = {os.path.normpath(arguments.page.parent / name): digest for name, digest in made_from.items()}
    for name, digest in origin.provenance.made_from.items():
        path = os.path.normpath(arguments.summary_origin.parent / name)
        if present.get(path, digest) != digest:
            raise StaleFileError(
                f"{path}: the summary was made from another version of this file.\n"
                f"  digest: {arguments.summary_origin} names {digest[:12]}, the file has {present[path][:12]}\n"
                f"Fix: {remake(Path(path))}"
            )


def _read(arguments: Arguments, data_set: DataSet, marks: tuple[str, ...]) -> ReportData:
    settings = arguments.settings.settings
    return ReportData(
        settings=settings,
        dataset=data_set,
        marks=marks,
        summary=with_plain_name(keyed(read_summary(arguments.summary))),
        decoders=_decoders(arguments),
        routed=by_split(settings, _documents(arguments.routed, RoutedEvaluation)),
        organ_heads=by_split(settings, _documents(arguments.organ_heads, OrganHeadEvaluation)),
        target_checks=tuple(sorted(_documents(arguments.target_checks, TargetCheck), key=lambda check: check.fold)),
        feature_checks=tuple(sorted(_documents(arguments.feature_checks, FeatureCheck), key=lambda one: one.fold_id)),
        fold_summaries=tuple(sorted(_documents(arguments.folds, FoldSummary), key=lambda summary: summary.fold)),
        timings=read_timings(arguments.timings),
        folds_checks=tuple(_documents(arguments.folds_check, FoldsCheck)),
        own_checks=tuple(_documents(arguments.own_data, OwnDataCheck)),
        novelties=by_split(settings, map(read_novelty_header, arguments.novelties)),
        finals=pair_finals(map(read_header, arguments.finals), _documents(arguments.final_watersheds, WatershedChoice)),
    )


def _decoders(arguments: Arguments) -> tuple[Decoder, ...]:
    """Decoders with their documents; each table has the digest that its document records."""
    evaluations, settings = _documents(arguments.evaluations, FamilyEvaluation), arguments.settings.settings
    scores = {}
    for path, evaluation in zip(arguments.tables, evaluations, strict=True):
        check_table(path, evaluation.tables, "tiles")
        of_systems = read_tile_scores(path, columns_of(evaluation.dataset))
        if "decoder" in of_systems:
            scores[evaluation.split, evaluation.family] = of_systems["decoder"]
    decoders = pair_decoders(
        settings,
        [_training(*paths) for paths in zip(arguments.checkpoints, arguments.histories, strict=True)],
        watersheds=_documents(arguments.watersheds, WatershedChoice),
        evaluations=evaluations,
        galleries=_documents(arguments.galleries, Gallery),
        calibrations=_documents(arguments.calibrations, DecoderCalibration),
        scores=scores,
    )
    return tuple(one.with_plain_name for one in decoders) if settings.families is None else decoders


def _training(checkpoint: Path, history: Path) -> tuple[CheckpointHeader, pd.DataFrame]:
    """Header of a checkpoint (its weights are not read) and history of its training."""
    header = read_header(checkpoint)
    check_table(history, header.tables, "history")
    return header, read_history(history)


def _documents(paths: Sequence[Path], kind: type[AnyDocument]) -> list[AnyDocument]:
    return [read_document(path, kind) for path in paths]
