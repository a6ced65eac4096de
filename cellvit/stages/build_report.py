"""Stage `build_report`: everything that a run found -> report/index.html, one page that opens offline."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pandas as pd
import torch

from cellvit.config.paired import check_paired
from cellvit.config.settings import Settings
from cellvit.config.steps import BuildReportSettings
from cellvit.errors import MissingInputError, StaleFileError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.checkpoints import CheckpointHeader, checkpoint_digest, read_header
from cellvit.formats.digests import check_table, check_unchanged
from cellvit.formats.documents import Document, read_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.family import FamilyStore
from cellvit.formats.features import FeatureCheck, open_family_features
from cellvit.formats.page import write_page
from cellvit.formats.provenance import Provenance, document_name, origin_of, source_name
from cellvit.formats.summary import SummaryOrigin, read_summary
from cellvit.formats.tile_table import read_tile_scores
from cellvit.formats.tiles import FoldSummary, TargetCheck, open_targets
from cellvit.formats.watershed import WatershedChoice
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.report.findings import Decoder, Findings, by_family, by_split, pair_decoders
from cellvit.report.gallery import Gallery
from cellvit.report.kept import gallery_key, keep_gallery, kept_gallery
from cellvit.report.page import render
from cellvit.report.rerun import Stores, build_gallery
from cellvit.workflow.timings import read_timings

log = logging.getLogger(__name__)

_DOCUMENTS: Final[Mapping[str, type[Document]]] = {
    "evaluations": FamilyEvaluation,
    "routed": RoutedEvaluation,
    "organ_heads": OrganHeadEvaluation,
    "watersheds": WatershedChoice,
    "folds": FoldSummary,
    "feature_checks": FeatureCheck,
    "target_checks": TargetCheck,
}
"""Documents on the page by the name of their argument."""

_NO_FEATURES: Final = (
    "No pictures: the features that they are decoded from are not there (snakemake clean_features removes them). "
    "With pictures: snakemake --forcerun extract_features gather_family build_report"
)

_TILES_PER_RANK = 2
"""Tiles a rank (best, median, worst) of a family in the first split. A tile takes 0.26 MB of the page (measured)."""

_TILES_PER_RANK_LATER = 1
"""The same in later splits: five families in three splits give 16 MB of pictures and 5 MB of charts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; lists may be in any order, but tables follow the order of their documents."""
    parser.add_argument("--settings", type=BuildReportSettings.model_validate_json, required=True, help="JSON: all")
    parser.add_argument("--summary", type=Path, required=True, help="summary.csv")
    parser.add_argument("--summary-origin", type=Path, required=True, help="summary.json: the hash of summary.csv")
    _add_lists(
        parser,
        evaluations="JSONs of evaluate_family",
        family_tiles="CSVs of evaluate_family, in the order of --evaluations",
        routed="JSONs of evaluate_routed",
        organ_heads="JSONs of train_organ_head",
        checkpoints="decoders",
        histories="CSVs of train_hovernet, in the order of --checkpoints",
        watersheds="JSONs of tune_watershed",
        folds="JSONs of prepare_fold",
        feature_checks="JSONs of check_features",
        target_checks="JSONs of check_targets",
        features="features of the families; one that is not given has no pictures where none are kept",
        targets="targets of the families",
    )
    parser.add_argument("--timings", type=Path, help="folder of Snakemake's benchmark files, beside that of the logs")
    parser.add_argument("--out", type=Path, required=True, help="HTML page to write")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where torch computes")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")


def run(args: argparse.Namespace) -> None:
    """Write the page.

    Raises:
        SettingsError: Tables and their documents are not in pairs.
        IntegrityError: A document, table or checkpoint was changed after its step wrote it.
    """
    torch.set_num_threads(args.threads)
    check_paired(args, "evaluations", "family_tiles")
    check_paired(args, "checkpoints", "histories")
    _check_written(args)
    findings = _findings(args)
    galleries = _galleries(args, findings)
    page = render(findings, galleries)
    write_page(args.out, page, _origin(args))
    log.info("report path=%s megabytes=%.1f galleries=%d", args.out, len(page) / 1e6, len(galleries))


def _check_written(args: argparse.Namespace) -> None:
    """Tables and checkpoints are as they were written; documents are asked when they are read."""
    check_table(args.summary, read_document(args.summary_origin, SummaryOrigin).tables, args.summary.name)
    for table, evaluation in zip(args.family_tiles, args.evaluations, strict=True):
        check_table(table, read_document(evaluation, FamilyEvaluation).tables, "tiles")
    for table, checkpoint in zip(args.histories, args.checkpoints, strict=True):
        check_unchanged(checkpoint, checkpoint_digest(checkpoint))
        check_table(table, read_header(checkpoint).tables, "history")


def _origin(args: argparse.Namespace) -> Provenance:
    """Documents and tables by their files, checkpoints by what they say; times are none of it."""
    documents: dict[str, tuple[Path, Document]] = {}
    for name, kind in _DOCUMENTS.items():
        read = [(path, read_document(path, kind)) for path in getattr(args, name)]
        documents |= {document_name(document): (path, document) for path, document in read}
    heads = list(zip(args.checkpoints, _headers(args), strict=True))
    tables = {"summary": args.summary}
    for path, (_, header) in zip(args.histories, heads, strict=True):
        tables[source_name("history", split=header.split, family=header.family)] = path
    for path, evaluation in zip(args.family_tiles, args.evaluations, strict=True):
        document = read_document(evaluation, FamilyEvaluation)
        tables[source_name("tiles", split=document.split, family=document.family)] = path
    documents |= {document_name(header): (path, header) for path, header in heads}
    return origin_of(
        documents=dict(sorted(documents.items())),
        tables=dict(sorted(tables.items())),
        settings=args.settings.model_dump(mode="json"),
    )


def _add_lists(parser: argparse.ArgumentParser, **lists: str) -> None:
    for name, text in lists.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, nargs="*", default=[], help=text)


def _findings(args: argparse.Namespace) -> Findings:
    settings: Settings = args.settings.settings
    evaluations = [read_document(path, FamilyEvaluation) for path in args.evaluations]
    return Findings(
        settings=settings,
        summary=read_summary(args.summary),
        decoders=pair_decoders(
            settings,
            zip(_headers(args), map(pd.read_csv, args.histories), strict=True),
            [read_document(path, WatershedChoice) for path in args.watersheds],
            zip(evaluations, (read_tile_scores(path, COLUMNS) for path in args.family_tiles), strict=True),
        ),
        routed=by_split(settings, [read_document(path, RoutedEvaluation) for path in args.routed]),
        organ_heads=by_split(settings, [read_document(path, OrganHeadEvaluation) for path in args.organ_heads]),
        target_checks=by_family(settings, [read_document(path, TargetCheck) for path in args.target_checks]),
        feature_checks=tuple(
            sorted((read_document(path, FeatureCheck) for path in args.feature_checks), key=lambda check: check.fold_id)
        ),
        fold_summaries=tuple(
            sorted((read_document(path, FoldSummary) for path in args.folds), key=lambda summary: summary.fold)
        ),
        timings=read_timings(args.timings) if args.timings else (),
    )


def _galleries(args: argparse.Namespace, findings: Findings) -> list[Gallery]:
    """A gallery for each evaluated family; the control has none, because its tiles are those of the families."""
    device = resolve_device(args.device)
    paths = {(header.split, header.family): path for path, header in zip(args.checkpoints, _headers(args), strict=True)}
    with ExitStack() as stack:
        features = _by_family([stack.enter_context(open_family_features(path)) for path in args.features])
        targets = _by_family([stack.enter_context(open_targets(path)) for path in args.targets])

        def stores_of(decoder: Decoder) -> Stores | None:
            if decoder.header.family not in features:
                return None
            return _store_of(decoder, "features", features), _store_of(decoder, "targets", targets)

        shown = [
            decoder
            for decoder in findings.decoders
            if not decoder.is_control and decoder.evaluation is not None and decoder.evaluation.status == "evaluated"
        ]
        return [
            _gallery(args.out, decoder, paths[decoder.key], stores_of(decoder), _per_rank(findings, decoder), device)
            for decoder in reported(shown, "galleries drawn", len(shown), unit="decoders", size=lambda _: 1)
        ]


def _gallery(  # six arguments: what a gallery is made from, and where one may be kept
    page: Path,
    decoder: Decoder,
    checkpoint: Path,
    stores: Stores | None,
    per_rank: int,
    device: torch.device,
) -> Gallery:
    """The gallery that was kept of the same; else a new one, empty where the family's features are not there."""
    key = gallery_key(decoder, checkpoint, per_rank=per_rank)
    kept = kept_gallery(page, decoder, key)
    if kept is not None:
        return kept
    if stores is None:
        log.warning("no gallery, as its features are not there split=%s family=%s", *decoder.key)
        return Gallery(*decoder.key, (), _NO_FEATURES)
    gallery = build_gallery(decoder, checkpoint, stores, per_rank=per_rank, device=device)
    keep_gallery(page, gallery, key)
    return gallery


def _headers(args: argparse.Namespace) -> list[CheckpointHeader]:
    return [read_header(path) for path in args.checkpoints]


def _by_family(stores: Sequence[FamilyStore]) -> dict[str, FamilyStore]:
    return {store.family: store for store in stores}


def _store_of(decoder: Decoder, name: str, stores: dict[str, FamilyStore]) -> FamilyStore:
    """The family's store, whose test folds must be those that the evaluation read."""
    assert decoder.evaluation is not None, decoder.key
    split, family = decoder.key
    if family not in stores:
        raise MissingInputError(
            f"the {name} of family {family} are not among the stores given (--{name}): {', '.join(stores)}"
        )
    store, made_from = stores[family], decoder.evaluation.provenance.made_from
    for fold in decoder.evaluation.provenance.settings["test_folds"]:
        expected, found = made_from[f"{name}_fold{fold}"], store.fold_sha256(fold)
        if expected != found:
            raise StaleFileError(
                f"the evaluation of split {split}, family {family} was made from other {name} than those given.\n"
                f"  {name} of fold {fold}: evaluation has {expected[:12]}, {store.path} has {found[:12]}\n"
                "Evaluate again:  snakemake --forcerun evaluate_family"
            )
    return store


def _per_rank(findings: Findings, decoder: Decoder) -> int:
    first = findings.decoders[0].header.split
    return _TILES_PER_RANK if decoder.header.split == first else _TILES_PER_RANK_LATER
