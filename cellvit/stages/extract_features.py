"""Stage `extract_features`: tiles of one fold -> feature store of that fold."""

import argparse
from pathlib import Path
from typing import get_args

import torch

from cellvit.config.settings import Device
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.contracts.provenance import Provenance
from cellvit.contracts.stores import FEATURES
from cellvit.inference.features import extract
from cellvit.io.features import append_features
from cellvit.io.hashing import sha256_of
from cellvit.io.hdf5 import Store, writing
from cellvit.io.tiles import open_tiles
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input, output and params."""
    parser.add_argument("--settings", type=ExtractFeaturesSettings.model_validate_json, required=True, help="JSON")
    parser.add_argument("--tiles", type=Path, required=True, help="tile store of one fold")
    parser.add_argument("--features", type=Path, required=True, help="feature store to write")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where the encoder computes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")


def run(args: argparse.Namespace) -> None:
    """Write the feature store of a fold; a fold without tiles gives a store without rows."""
    settings: ExtractFeaturesSettings = args.settings
    torch.set_num_threads(args.threads)
    encoder = load_encoder(settings.encoder, settings.features, resolve_device(args.device))
    sizes = {"views": 1, "taps": len(encoder.taps), "g": encoder.grid, "dim": encoder.dim}
    with (
        open_tiles(args.tiles) as tiles,
        writing(args.features, FEATURES, len(tiles), sizes, _origin(settings, encoder, tiles)) as writer,
    ):
        for batch in extract(encoder, tiles, batch_size=settings.features.batch_size):
            append_features(writer, batch)


def _origin(settings: ExtractFeaturesSettings, encoder: Encoder, tiles: Store) -> Provenance:
    weights = {"weights": sha256_of(encoder.weights)} if encoder.weights else {}
    return Provenance(
        made_from={"tiles": tiles.content_sha256, **weights},
        settings=settings.model_dump(mode="json"),
        simulated=tiles.provenance.simulated,
        untrained_encoder=settings.encoder.untrained,
    )
