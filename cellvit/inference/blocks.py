"""Which blocks of the encoder a feature store holds, and where in it."""

from collections.abc import Sequence
from typing import Any

from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.hdf5 import Rows

ENCODER_SECTIONS = ("encoder", "features")
"""Parts of a feature store's settings that say what its numbers mean."""

_BLOCKS_AXIS = 2
"""Axis of `tokens` (n, views, blocks, g, g, dim)."""


def encoder_record(store: Rows) -> dict[str, Any]:
    """Settings of the encoder behind a feature store, as checkpoints keep them; empty where it names none."""
    return {name: store.provenance.settings[name] for name in ENCODER_SECTIONS if name in store.provenance.settings}


def stored_blocks(store: Rows) -> tuple[int, ...]:
    """Number of the transformer block of each block; 0, 1 ... where the store names no encoder.

    Raises:
        ContractError: The store holds another number of blocks than its settings say.
    """
    n_blocks = store.shape("tokens")[_BLOCKS_AXIS]
    record = encoder_record(store)
    if len(record) < len(ENCODER_SECTIONS):
        return tuple(range(n_blocks))
    blocks = ExtractFeaturesSettings.model_validate(record).blocks
    if len(blocks) != n_blocks:
        raise ContractError(
            f"{store.path}: its settings name the blocks {list(blocks)}, its tokens have {n_blocks} blocks. "
            f"Make it again: rm {store.path} && snakemake -- {store.path}"
        )
    return blocks


def block_positions(store: Rows, blocks: Sequence[int]) -> tuple[int, ...]:
    """Where in the store the tokens of `blocks` are.

    Raises:
        StaleFileError: The store lacks one.
    """
    kept = stored_blocks(store)
    missing = [block for block in blocks if block not in kept]
    if missing:
        raise StaleFileError(
            f"{store.path}: the decoder reads blocks {list(blocks)}, the store holds {list(kept)}. Set features.blocks and "
            f"decoder.blocks to match: decoder.blocks to some of {list(kept)}, or features.blocks: "
            f"{sorted({*kept, *blocks})}, which extracts again. Then: snakemake"
        )
    return tuple(kept.index(block) for block in blocks)


def check_same_encoder(store: Rows, record: dict[str, Any]) -> None:
    """Refuse features of another encoder, or of another input size, than `record` (of a checkpoint) names.

    Raises:
        StaleFileError: They differ. Taps, precision and batch size may.
    """
    expected, found = _identity(record), _identity(encoder_record(store))
    if expected != found:
        differing = [key for key in expected | found if expected.get(key) != found.get(key)]
        lines = [f"  {key}: decoder has {expected.get(key)}, file has {found.get(key)}" for key in differing]
        raise StaleFileError(
            f"{store.path}: features come from another encoder than those that the decoder was trained on.\n"
            + "\n".join(lines)
            + "\nTrain it again:  snakemake --forcerun train_hovernet"
        )


def _identity(record: dict[str, Any]) -> dict[str, Any]:
    if any(name not in record for name in ENCODER_SECTIONS):
        return {}
    return {"encoder": record["encoder"], "input_px": record["features"]["input_px"]}
