"""Stage `gather_family`: feature and tile stores of all folds -> one family's features and targets, as views on them."""

import argparse
import logging
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from cellvit.config.paired import check_paired
from cellvit.config.steps import GatherFamiliesSettings
from cellvit.errors import ContractError
from cellvit.formats.family import FAMILY_FEATURES, FAMILY_TARGETS, Member, write_family
from cellvit.formats.features import check_extracted_from, open_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.provenance import Provenance
from cellvit.formats.seals import said_of_rows, write_seal
from cellvit.formats.tiles import open_tiles

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--settings", type=GatherFamiliesSettings.model_validate_json, required=True, help="JSON: organs")
    parser.add_argument("--family", required=True, help="name of the family")
    parser.add_argument("--folds", type=int, nargs="+", required=True, help="numbers of the folds")
    parser.add_argument("--fold-tiles", type=Path, nargs="+", required=True, help="tile stores, one a fold")
    parser.add_argument("--fold-features", type=Path, nargs="+", required=True, help="feature stores, one a fold")
    parser.add_argument("--features", type=Path, required=True, help="the family's features to write")
    parser.add_argument("--targets", type=Path, required=True, help="the family's targets to write")
    parser.add_argument("--seals", type=Path, nargs="+", default=[], help="seals to write, one a fold")


def run(args: argparse.Namespace) -> None:
    """Write both stores of the family; a family without tiles gets empty stores and a warning."""
    check_paired(args, "folds", "fold_tiles", "fold_features", *(["seals"] if args.seals else []))
    with ExitStack() as stack:
        tiles = [stack.enter_context(open_tiles(path)) for path in args.fold_tiles]
        features = [stack.enter_context(open_features(path)) for path in args.fold_features]
        for tile_store, feature_store in zip(tiles, features, strict=True):
            check_extracted_from(tile_store, feature_store)
        _check_equal_layout(features)
        rows = [_rows_of(store, args.settings.organs) for store in tiles]
        _log_counts(args.family, dict(zip(args.folds, map(len, rows), strict=True)))
        settings = {"family": args.family, **args.settings.model_dump(mode="json")}
        names = {
            column: np.concatenate([store.all(column)[kept] for store, kept in zip(tiles, rows, strict=True)])
            for column in ("organ", "tile_id", "patient")
        }
        targets = _members(args.folds, tiles, rows)
        write_family(args.targets, FAMILY_TARGETS, targets, names, _origin(targets, settings))
        tokens = _members(args.folds, features, rows)
        encoded = {**features[0].provenance.settings, **settings}
        write_family(args.features, FAMILY_FEATURES, tokens, names, _origin(tokens, encoded))
        if args.seals:
            for path, *of_fold in zip(args.seals, targets, tokens, strict=True):
                write_seal(path, said_of_rows(*of_fold))


def _rows_of(store: Store, organs: tuple[str, ...]) -> np.ndarray:
    return np.flatnonzero(np.isin(np.array(store.names("organ"), dtype=object), list(organs)))


def _members(folds: list[int], stores: list[Store], rows: list[np.ndarray]) -> list[Member]:
    return [Member(fold, store, kept) for fold, store, kept in zip(folds, stores, rows, strict=True)]


def _origin(members: list[Member], settings: dict[str, object]) -> Provenance:
    origins = [member.store.provenance for member in members]
    return Provenance(
        made_from={f"fold{member.fold}": member.sha256 for member in members},
        settings=settings,
        simulated=any(origin.simulated for origin in origins),
        untrained_encoder=any(origin.untrained_encoder for origin in origins),
    )


def _check_equal_layout(features: list[Store]) -> None:
    first, *others = features
    for other in others:
        mine, theirs = first.shape("tokens")[1:], other.shape("tokens")[1:]
        if mine != theirs or first.provenance.settings != other.provenance.settings:
            raise ContractError(
                f"{first.path} and {other.path} were extracted with different settings "
                f"(token layout {mine} and {theirs}). Re-extract both:  snakemake --forcerun extract_features"
            )


def _log_counts(family: str, tiles_by_fold: dict[int, int]) -> None:
    log.info("gathered family=%s %s", family, " ".join(f"fold{fold}={count}" for fold, count in tiles_by_fold.items()))
    empty = [fold for fold, count in tiles_by_fold.items() if not count]
    if empty:
        log.warning("family=%s has no tiles in fold %s", family, ", ".join(map(str, empty)))
