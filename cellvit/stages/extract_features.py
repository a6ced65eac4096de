"""Stage `extract_features`: tiles of one fold, or of one shard of it -> feature store of that fold or shard."""

import argparse
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

import torch

from cellvit.config.settings import Device
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.formats.digests import sha256_of
from cellvit.formats.features import FEATURES, FeatureBatch, append_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.kept import EXTRACTION, Kept, forget, keep, kept_of
from cellvit.formats.partial import Unfinished, continuing
from cellvit.formats.provenance import Provenance
from cellvit.formats.rows import StoreWriter
from cellvit.formats.seals import said_by_store, write_seal
from cellvit.formats.shards import SHARD, Shard
from cellvit.formats.tiles import open_tiles
from cellvit.inference.background import Background
from cellvit.inference.features import Extraction
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder
from cellvit.workflow.fingerprint import code_fingerprint

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input, output and params."""
    parser.add_argument("--settings", type=ExtractFeaturesSettings.model_validate_json, required=True, help="JSON")
    parser.add_argument("--tiles", type=Path, required=True, help="tile store of one fold")
    parser.add_argument("--features", type=Path, required=True, help="feature store to write")
    parser.add_argument("--seal", type=Path, help="seal of the feature store to write")
    parser.add_argument("--batch-size", type=_batch_size, default="auto", help="tiles a forward pass, or auto")
    parser.add_argument("--shard", type=Shard.parse, default=Shard(1, 1), help="number/count: part of the fold")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where the encoder computes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")


def run(args: argparse.Namespace) -> None:
    """Write the feature store; a fold without tiles gives a store without rows.

    What an earlier run of the same settings, weights, tiles and code left unfinished is continued, and blocks of tiles
    that a finished one holds already are taken from there.
    """
    settings: ExtractFeaturesSettings = args.settings
    torch.set_num_threads(args.threads)
    encoder = load_encoder(settings.encoder, settings.features, resolve_device(args.device))
    features = settings.features.model_copy(update={"batch_size": args.batch_size})
    with open_tiles(args.tiles) as tiles:
        extraction = Extraction(encoder, tiles, features)
        origin = _origin(settings, encoder, tiles)
        made_by = _made_by(settings, encoder, origin, extraction.block_size)
        rows = args.shard.rows(len(tiles), block=extraction.block_size)
        sizes = {"views": features.n_views, "taps": len(encoder.taps), "g": encoder.grid, "dim": encoder.dim}
        fingerprint = {**made_by, "tiles": tiles.content_sha256, "shard": str(args.shard)}
        store = Unfinished(args.features, FEATURES, len(rows), sizes, fingerprint)
        header = {EXTRACTION: json.dumps(made_by, sort_keys=True), SHARD: str(args.shard)}
        with (
            continuing(store, origin, **header) as writer,
            kept_of(args.features, made_by, block=extraction.block_size) as kept,
        ):
            _write(extraction, rows[writer.row :], writer, kept)
    if args.seal:
        with Store(args.features, FEATURES) as made:
            write_seal(args.seal, said_by_store(made))
    keep(args.features)
    if args.shard.of == 1:
        forget(args.features, but=(args.features,))


def _write(extraction: Extraction, rows: range, writer: StoreWriter, kept: Kept) -> None:
    with Background[FeatureBatch](lambda batch: append_features(writer, batch)) as behind:
        for batch in extraction.blocks(rows, known=kept.features):
            behind.put(batch)
    log.info("features written tiles=%d of which reused=%d", len(rows), kept.n_reused)


def _batch_size(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else int(text)


def _origin(settings: ExtractFeaturesSettings, encoder: Encoder, tiles: Store) -> Provenance:
    weights = {"weights": sha256_of(encoder.weights)} if encoder.weights else {}
    return Provenance(
        made_from={"tiles": tiles.content_sha256, **weights},
        settings=settings.model_dump(mode="json"),
        simulated=tiles.provenance.simulated,
        untrained_encoder=settings.encoder.untrained,
    )


def _made_by(
    settings: ExtractFeaturesSettings, encoder: Encoder, origin: Provenance, block_size: int
) -> dict[str, str]:
    """All that decides the features of a tile: only where it is the same may features be taken over."""
    return {
        "settings": settings.model_dump_json(by_alias=True),
        "weights": origin.made_from.get("weights", "none"),
        "code": code_fingerprint(__name__),
        "block": str(block_size),
        "arithmetic": f"{encoder.dtype} on {encoder.device.type}",
        "software": f"torch {torch.__version__}, timm {version('timm')}",
    }
