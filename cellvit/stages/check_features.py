"""Stage `check_features`: features of one fold -> proof that they are what the encoder gives, or the end of the run."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import torch

from cellvit.config.encoders import FeaturesSettings
from cellvit.config.settings import Device
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.data.views import named, views_of
from cellvit.errors import IntegrityError, StaleFileError
from cellvit.evaluation.feature_checks import (
    FeatureStatistics,
    Finding,
    feature_statistics,
    judge_recomputed,
    judge_shape,
    judge_statistics,
)
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.features import FeatureCheck, check_extracted_from, open_features, read_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.kept import forget
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_tiles
from cellvit.inference.features import Extraction
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder

log = logging.getLogger(__name__)

_BLOCK: Final = 32
"""Tiles read at a time: 25 MB a tap of the widest preset."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input, output and params."""
    parser.add_argument("--settings", type=ExtractFeaturesSettings.model_validate_json, required=True, help="JSON")
    parser.add_argument("--tiles", type=Path, required=True, help="tile store of one fold")
    parser.add_argument("--features", type=Path, required=True, help="feature store to check")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write where every check holds")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where the encoder computes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")


def run(args: argparse.Namespace) -> None:
    """Write the proof; nothing is written where a check fails.

    Raises:
        StaleFileError: The features are of other tiles, weights or settings.
        IntegrityError: A check failed; every failed one is named with its likely cause.
    """
    settings: ExtractFeaturesSettings = args.settings
    torch.set_num_threads(args.threads)
    with open_tiles(args.tiles) as tiles, open_features(args.features) as features:
        _check_origin(features, tiles, settings)
        encoder = load_encoder(settings.encoder, settings.features, resolve_device(args.device))
        _check_weights(features, encoder)
        findings = judge_shape(_sizes(features), _expected_sizes(tiles, encoder, settings.features))
        _stop_on_failure(features.path, findings)
        blocks = (read_features(features, rows) for rows in features.blocks(_BLOCK))
        statistics = feature_statistics(reported(blocks, "features read", len(features)))
        findings += judge_statistics(statistics, settings.encoder.cls_std)
        findings += _recomputed(features, tiles, encoder, settings.features)
        _stop_on_failure(features.path, findings)
        write_document(args.out, _proof(features, statistics, findings))


def _check_origin(features: Store, tiles: Store, settings: ExtractFeaturesSettings) -> None:
    check_extracted_from(tiles, features)
    stored, asked = _flat(features.provenance.settings), _flat(settings.model_dump(mode="json"))
    differing = [
        f"\n  {key}: file has {stored.get(key)}, run asks for {asked.get(key)}"
        for key in sorted(stored.keys() | asked.keys())
        if stored.get(key) != asked.get(key)
    ]
    if differing:
        raise _stale(features, "was extracted with other settings." + "".join(differing))


def _check_weights(features: Store, encoder: Encoder) -> None:
    now = sha256_of(encoder.weights) if encoder.weights else None
    before = features.provenance.made_from.get("weights")
    if now != before:
        raise _stale(
            features,
            f"was extracted with other weights than {encoder.weights} holds now.\n"
            f"  sha256: file has {str(before)[:12]}, run has {str(now)[:12]}",
        )


def _stale(features: Store, what: str) -> StaleFileError:
    remedy = f"Extract it again:  snakemake --forcerun extract_features -- {features.path}"
    return StaleFileError(f"{features.path} {what}\n{remedy}")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _sizes(features: Store) -> dict[str, int]:
    n, views, taps, grid, _, dim = features.shape("tokens")
    return {"tiles": n, "views": views, "taps": taps, "grid": grid, "dim": dim}


def _expected_sizes(tiles: Store, encoder: Encoder, asked: FeaturesSettings) -> dict[str, int]:
    sizes = {"taps": len(encoder.taps), "grid": encoder.grid, "dim": encoder.dim}
    return {"tiles": len(tiles), "views": asked.n_views, **sizes}


def _recomputed(features: Store, tiles: Store, encoder: Encoder, asked: FeaturesSettings) -> tuple[Finding, ...]:
    """Findings about every view of the first and the last tile, through the encoder again."""
    rows = np.unique([0, len(tiles) - 1]) if len(tiles) else np.empty(0, np.int64)
    if not len(rows):
        log.warning("no tiles to recompute features=%s", features.path)
        return ()
    stored, fresh = read_features(features, rows), Extraction(encoder, tiles, asked).of_rows(rows)
    return judge_recomputed(stored, fresh, tuple(rows.tolist()), tuple(map(named, views_of(asked))))


def _stop_on_failure(path: Path, findings: tuple[Finding, ...]) -> None:
    failed = [finding for finding in findings if not finding.held]
    for finding in findings:
        check = finding.check
        outcome = "held" if finding.held else "failed"
        log.info("check %s: %s expected=%s found=%s", outcome, check.name, check.expected, check.found)
    if failed:
        forget(path)  # else the next extraction would take the same features over
        lines = [
            f"\n  {finding.check.name}: expected {finding.check.expected}, found {finding.check.found}. "
            f"Likely cause: {finding.cause}"
            for finding in failed
        ]
        raise IntegrityError(
            f"{path}: {len(failed)} of {len(findings)} checks failed; figures made from these features would be wrong."
            + "".join(lines)
            + f"\nExtract it again:  snakemake --forcerun extract_features -- {path}"
        )


def _proof(features: Store, statistics: FeatureStatistics, findings: tuple[Finding, ...]) -> FeatureCheck:
    origin = features.provenance
    return FeatureCheck(
        provenance=Provenance(
            made_from={**origin.made_from, "features": features.content_sha256},
            settings=origin.settings,
            simulated=origin.simulated,
            untrained_encoder=origin.untrained_encoder,
        ),
        fold_id=features.path.stem,
        n_tiles=statistics.n_tiles,
        cls_std=statistics.cls_std,
        checks=tuple(finding.check for finding in findings),
    )
