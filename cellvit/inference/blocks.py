"""Which transformer blocks of which encoder a feature store holds."""

from collections.abc import Sequence
from typing import Any

from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.digests import remake
from cellvit.formats.hdf5 import Rows

ENCODER_SECTIONS = ("encoder", "features")
"""Sections of a feature store's settings that define the meaning of its numbers."""

_BLOCKS_AXIS = 2
"""Axis of `tokens` (n, views, blocks, g, g, dim)."""


def encoder_record(features: Rows) -> dict[str, Any]:
    """Settings of the encoder of a feature store, as checkpoints record them; empty if the store names no encoder."""
    settings = features.provenance.settings
    return {name: settings[name] for name in ENCODER_SECTIONS if name in settings}


def extraction_settings(features: Rows) -> ExtractFeaturesSettings | None:
    """Settings that a feature store was extracted with; None if the store names no encoder."""
    record = encoder_record(features)
    return ExtractFeaturesSettings.model_validate(record) if len(record) == len(ENCODER_SECTIONS) else None


def stored_blocks(features: Rows) -> tuple[int, ...]:
    """Number of the transformer block at each position of the store; 0, 1 ... if the store names no encoder.

    Raises:
        ContractError: The store holds another number of blocks than its settings name.
    """
    found, settings = features.shape("tokens")[_BLOCKS_AXIS], extraction_settings(features)
    blocks = settings.blocks if settings else tuple(range(found))
    if len(blocks) != found:
        raise ContractError(
            f"{features.path}: the settings name the blocks {list(blocks)}, but the tokens are of {found} blocks. "
            f"Fix: {remake(features.path)}"
        )
    return blocks


def block_positions(features: Rows, blocks: Sequence[int]) -> tuple[int, ...]:
    """Positions of `blocks` in the store.

    Raises:
        StaleFileError: The store lacks one.
    """
    stored = stored_blocks(features)
    if not set(blocks) <= set(stored):
        raise StaleFileError(
            f"{features.path}: the decoder reads blocks {list(blocks)}, the store holds {list(stored)}. Fix: set "
            f"decoder.blocks to some of {list(stored)}, or set features.blocks: {sorted({*stored, *blocks})}, which "
            "repeats the extraction. Then: snakemake"
        )
    return tuple(stored.index(block) for block in blocks)


def check_same_encoder(features: Rows, record: dict[str, Any]) -> None:
    """Refuse features of another encoder, or of another input size, than `record` (of a checkpoint) names.

    Raises:
        StaleFileError: They differ. Blocks, precision and batch size may differ.
    """
    expected, found = _identity(record), _identity(encoder_record(features))
    if expected != found:
        differing = [key for key in expected | found if expected.get(key) != found.get(key)]
        lines = [f"  {key}: model has {expected.get(key)}, file has {found.get(key)}\n" for key in differing]
        raise StaleFileError(
            f"{features.path}: the features come from another encoder than the one that the model was trained on.\n"
            f"{''.join(lines)}Fix: snakemake --forcerun train_organ_head train_hovernet"
        )


def _identity(record: dict[str, Any]) -> dict[str, Any]:
    if any(name not in record for name in ENCODER_SECTIONS):
        return {}
    return {"encoder": record["encoder"], "input_px": record["features"]["input_px"]}
