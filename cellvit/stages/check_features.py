"""Stage `check_features`: features of one fold -> proof that they are those of the encoder, or an error."""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np

from cellvit.config.base import flattened
from cellvit.config.encoders import FeaturesSettings
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.data.views import named, views_of
from cellvit.errors import StaleFileError
from cellvit.evaluation.checks import CheckResult, passed_checks
from cellvit.evaluation.feature_checks import check_recomputed, check_sizes, check_statistics, feature_statistics
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.features import WEIGHTS, FeatureCheck, check_extracted_from, open_features, read_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.tiles import open_tiles
from cellvit.inference.features import Extraction
from cellvit.inference.lanes import shared_out
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads

log = logging.getLogger(__name__)

_BLOCK: Final = 32
"""Tiles read at a time: 25 MB per block of the widest preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[ExtractFeaturesSettings, Setting("JSON: encoder and features")]
    tiles: Annotated[Path, Input("tile store of the fold")]
    features: Annotated[Path, Input("feature store to check")]
    weights: Annotated[Path | None, Input("local weights of the encoder, a file or folder")] = None
    check: Annotated[Path, Output("JSON to write if every check passes")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the result of the checks.

    Raises:
        StaleFileError: The features come from other tiles, weights or settings.
        IntegrityError: A check failed; no file is written.
    """
    settings = arguments.settings
    with open_tiles(arguments.tiles) as tiles, open_features(arguments.features) as features:
        _check_origin(features, tiles, settings)
        device = resolve_device(arguments.device)
        shared_out(device, arguments.threads)  # as in the extraction
        encoder = load_encoder(settings.encoder, settings.features, device)
        weights = sha256_of(encoder.weights) if encoder.weights else ""
        if weights and weights not in features.provenance.made_from.values():
            raise StaleFileError(
                f"{features.path} was extracted with other weights than {encoder.weights} holds now (sha256 {weights}).\n"
                f"Fix: {_again(features)}"
            )
        results = check_sizes(features, len(tiles), encoder, settings.features)
        passed_checks(str(features.path), results, fix=_again(features))
        blocks = (read_features(features, rows) for rows in features.blocks(_BLOCK))
        statistics = feature_statistics(reported(blocks, "features read", len(features)))
        results += check_statistics(statistics, settings.encoder.cls_std)
        results += _recomputed(features, tiles, encoder, settings.features)
        checks = passed_checks(str(features.path), results, fix=_again(features))
        document = FeatureCheck(
            provenance=provenance_of(
                arguments.check,
                [arguments.tiles, arguments.features],
                settings.model_dump(mode="json"),
                outside={WEIGHTS: weights} if weights else {},
            ),
            fold_id=features.path.stem,
            n_tiles=statistics.n_tiles,
            cls_std=statistics.cls_std,
            checks=checks,
        )
    write_document(arguments.check, document)


def _check_origin(features: Store, tiles: Store, settings: ExtractFeaturesSettings) -> None:
    check_extracted_from(tiles, features)
    stored, asked = flattened(features.provenance.settings), flattened(settings.model_dump(mode="json"))
    differing = [
        f"  {key}: file has {stored.get(key)}, run asks for {asked.get(key)}\n"
        for key in sorted(stored.keys() | asked.keys())
        if stored.get(key) != asked.get(key)
    ]
    if differing:
        raise StaleFileError(
            f"{features.path} was extracted with other settings.\n{''.join(differing)}Fix: {_again(features)}"
        )


def _again(features: Store) -> str:
    """The command that really extracts again: the result cache would serve the same features."""
    return f"snakemake --forcerun extract_features --config 'cache={{\"enabled\": false}}' -- {shlex.quote(str(features.path))}"


def _recomputed(features: Store, tiles: Store, encoder: Encoder, asked: FeaturesSettings) -> list[CheckResult]:
    """Comparison of every view of the first and the last tile with a fresh forward pass."""
    rows = np.unique([0, len(tiles) - 1]) if len(tiles) else np.empty(0, np.int64)
    if not len(rows):
        log.warning("no tiles to recompute features=%s", features.path)
        return []
    stored, recomputed = read_features(features, rows), Extraction(encoder, tiles, asked).of_rows(rows)
    return check_recomputed(stored, recomputed, rows.tolist(), [named(view) for view in views_of(asked)])
