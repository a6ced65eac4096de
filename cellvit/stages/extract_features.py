"""Stage `extract_features`: tiles of one fold -> frozen features of that fold."""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import torch

from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import sha256_of
from cellvit.formats.features import FEATURES, WEIGHTS, FeatureBatch, append_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_tiles
from cellvit.formats.writing import StoreWriter, resumable_writing
from cellvit.inference.background import Background
from cellvit.inference.features import Extraction
from cellvit.inference.lanes import shared_out
from cellvit.models.device import resolve_device
from cellvit.models.encoder import Encoder, load_encoder
from cellvit.workflow.arguments import Code, DeviceChoice, How, Input, Output, Setting, Threads, Through

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[ExtractFeaturesSettings, Setting("JSON: encoder and features")]
    tiles: Annotated[Path, Input("tile store of the fold")]
    check: Annotated[Path, Through("check of its targets, which must have passed")]
    features: Annotated[Path, Output("feature store to write")]
    weights: Annotated[Path | None, Input("local weights of the encoder")] = None
    batch_size: Annotated[int | Literal["auto"], How("tiles of a forward pass, or auto")] = "auto"
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the feature store; a fold without tiles gives a store without rows.

    Extraction continues where an earlier run of the same settings, weights, tiles and code was stopped.
    """
    settings = arguments.settings
    device = resolve_device(arguments.device)
    lanes, encoder = shared_out(device, arguments.threads), load_encoder(settings.encoder, settings.features, device)
    features = settings.features.model_copy(update={"batch_size": arguments.batch_size})
    with open_tiles(arguments.tiles) as tiles:
        extraction = Extraction(encoder, tiles, features, lanes=lanes)
        origin = _provenance(arguments, encoder)
        sizes = {"views": features.n_views, "blocks": len(encoder.blocks), "g": encoder.grid, "dim": encoder.dim}
        made_by = _made_by(arguments, encoder, tiles, extraction.block_size)
        with resumable_writing(arguments.features, FEATURES, len(tiles), sizes, origin, made_by=made_by) as writer:
            _write(extraction, len(tiles), writer)


def _write(extraction: Extraction, n_tiles: int, writer: StoreWriter) -> None:
    """Write beside the computation.

    Resuming begins with the block of tiles that was not finished: the arithmetic of a forward pass can depend on which
    tiles share it, and the result must be that of an extraction which was never stopped.
    """
    writer.rewind(writer.row - writer.row % extraction.block_size)
    with Background[FeatureBatch](lambda batch: append_features(writer, batch)) as background:
        for batch in extraction.blocks(range(writer.row, n_tiles)):
            background.put(batch)
    log.info("features written tiles=%d", n_tiles)


def _provenance(arguments: Arguments, encoder: Encoder) -> Provenance:
    weights = {WEIGHTS: sha256_of(encoder.weights)} if encoder.weights else {}
    settings = arguments.settings.model_dump(mode="json")
    origin = provenance_of(arguments.features, [arguments.tiles], settings, outside=weights)
    return origin.model_copy(update={"encoder_mark": arguments.settings.encoder.mark})


def _made_by(arguments: Arguments, encoder: Encoder, tiles: Store, block_size: int) -> dict[str, str]:
    """Everything that decides the features: rows of an unfinished store are used only where all of it is equal."""
    return {
        "settings": arguments.settings.model_dump_json(by_alias=True),
        "weights": sha256_of(encoder.weights) if encoder.weights else "none",
        "tiles": tiles.content_sha256,
        "code": arguments.code,
        "block size": str(block_size),
        "arithmetic": f"{encoder.dtype} on {encoder.device.type}",
        "software": f"torch {torch.__version__}, timm {version('timm')}",
    }
