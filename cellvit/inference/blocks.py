"""Which blocks of the encoder a feature store holds, and where in it."""

from collections.abc import Sequence
from typing import Any

from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.hdf5 import Store

ENCODER_SECTIONS = ("encoder", "features")
"""Parts of a feature store's settings that say what its numbers mean."""

_TAPS_AXIS = 2
"""Axis of `tokens` (n, views, taps, g, g, dim)."""


def encoder_record(store: Store) -> dict[str, Any]:
    """Settings of the encoder behind a feature store, as checkpoints keep them; empty where it names none."""
    return {name: store.provenance.settings[name] for name in ENCODER_SECTIONS if name in store.provenance.settings}


def stored_blocks(store: Store) -> tuple[int, ...]:
    """Number of the transformer block of each tap; 0, 1 ... where the store names no encoder.

    Raises:
        ContractError: The store holds another number of taps than its settings say.
    """
    n_taps = store.shape("tokens")[_TAPS_AXIS]
    record = encoder_record(store)
    if len(record) < len(ENCODER_SECTIONS):
        return tuple(range(n_taps))
    blocks = ExtractFeaturesSettings.model_validate(record).taps
    if len(blocks) != n_taps:
        raise ContractError(
            f"{store.path}: its settings name the blocks {list(blocks)}, its tokens have {n_taps} taps. "
            f"Make it again: rm {store.path} && snakemake -- {store.path}"
        )
    return blocks


def block_positions(store: Store, blocks: Sequence[int]) -> tuple[int, ...]:
    """Where in the store the tokens of `blocks` are.

    Raises:
        StaleFileError: The store lacks one.
    """
    kept = stored_blocks(store)
    missing = [block for block in blocks if block not in kept]
    if missing:
        raise StaleFileError(
            f"{store.path}: the decoder reads blocks {list(blocks)}, the store holds {list(kept)}. Set features.taps and "
            f"decoder.taps to match: decoder.taps to some of {list(kept)}, or features.taps: "
            f"{sorted({*kept, *blocks})}, which extracts again. Then: snakemake"
        )
    return tuple(kept.index(block) for block in blocks)


def check_same_encoder(store: Store, record: dict[str, Any]) -> None:
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
