"""What a decoder trains and predicts on, as arrays on the CPU."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float16, Int

from cellvit.errors import ContractError
from cellvit.formats.features import read_tokens
from cellvit.formats.hdf5 import Rows
from cellvit.formats.tiles import TileBatch, read_tiles


@dataclass(frozen=True, slots=True)
class SampledViews:
    """How each tile of a batch is shown to a decoder in training.

    Attributes:
        stored: Place in the store's views axis that the tile's tokens are read from.
        transforms: Flip or rotation of tokens, image and ground truth after that, by number; 0 changes nothing.
    """

    stored: Int[np.ndarray, " b"]
    transforms: Int[np.ndarray, " b"]


@dataclass(frozen=True, slots=True)
class DecoderBatch:
    """Token grids of tiles beside their image and truth.

    Attributes:
        tokens: Patch tokens of one view a tile, the blocks that the decoder reads.
        tiles: The annotated tiles as they lie, in the same order.
        sampled: The view of each tile's tokens; None where all are of the upright tile.
    """

    tokens: Float16[np.ndarray, "b blocks g g dim"]
    tiles: TileBatch
    sampled: SampledViews | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 5 or len(self.tokens) != len(self.tiles):
            raise ContractError(
                f"decoder batch: tokens must be (b, blocks, g, g, dim) for {len(self.tiles)} tiles, "
                f"found {self.tokens.shape}. Features and tiles must come from the same fold or family."
            )

    def __len__(self) -> int:
        return len(self.tiles)


AHEAD: Final = 2
"""Batches that are read while one is computed on: enough to hide the disk, and memory stays that of three batches."""


IDENTITY: Final = 0
"""View of the feature store that was extracted from the tile as it is."""


Item = TypeVar("Item")


Read = TypeVar("Read")


class SampledRows(NamedTuple):
    """Tiles of a training batch, and the view drawn for each."""

    rows: Int[np.ndarray, " r"]
    views: SampledViews


def sequential_rows(rows: Int[np.ndarray, " r"], batch_size: int) -> list[Int[np.ndarray, " r"]]:
    """`rows` in order, in batches of `batch_size`; the last may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def shuffled_rows(
    rows: Int[np.ndarray, " r"], batch_size: int, rng: np.random.Generator
) -> list[Int[np.ndarray, " r"]]:
    """`rows` in random order, in as few batches as `batch_size` allows, of sizes that differ by one at most.

    Every row is in exactly one batch. Equal sizes keep the last batch from being a single tile, whose statistics
    BatchNorm would take for the data's: 17 rows in batches of 16 become 9 and 8. The rows
    of a batch rise, for the disk.

    Examples:
        >>> [len(batch) for batch in shuffled_rows(np.arange(17), 16, np.random.default_rng(0))]
        [9, 8]
    """
    n_batches = -(-len(rows) // batch_size)
    return [np.sort(part) for part in np.array_split(rng.permutation(rows), n_batches)] if n_batches else []


def decoder_batches(
    features: Rows, tiles: Rows, plan: Iterable[Int[np.ndarray, " r"]], *, blocks: Sequence[int]
) -> Generator[DecoderBatch]:
    """Yield a batch of upright tiles for each entry of `plan`, in order; `blocks` are positions in the feature store.

    Both stores are of one fold or of one family: row i is the same tile in both. Close the iterator (it is a
    generator) before the stores, where it is not read to its end.

    Raises:
        ContractError: The stores have different lengths.
    """
    _check_lengths(features, tiles)

    def read(rows: Int[np.ndarray, " r"]) -> DecoderBatch:
        tokens = read_tokens(features, rows, view=IDENTITY, blocks=tuple(blocks))
        return DecoderBatch(tokens=tokens, tiles=read_tiles(tiles, rows))

    return read_ahead(read, plan)


def sampled_batches(
    features: Rows, tiles: Rows, plan: Iterable[SampledRows], *, blocks: Sequence[int]
) -> Generator[DecoderBatch]:
    """As `decoder_batches`, with the tokens of the view that is drawn for each tile; no other view is read."""
    _check_lengths(features, tiles)

    def read(sampled: SampledRows) -> DecoderBatch:
        tokens = _tokens_of_views(features, sampled.rows, sampled.views.stored, tuple(blocks))
        return DecoderBatch(tokens=tokens, tiles=read_tiles(tiles, sampled.rows), sampled=sampled.views)

    return read_ahead(read, plan)


def read_ahead(read: Callable[[Item], Read], plan: Iterable[Item], *, ahead: int = AHEAD) -> Generator[Read]:
    """Yield ``read(item)`` for each item in order; one thread reads at most `ahead` items further.

    An exception of `read` is raised here, at its item. Closing the generator waits for the read in progress and
    starts no other.

    Examples:
        >>> list(read_ahead(str.upper, ["a", "b"]))
        ['A', 'B']
    """
    waiting: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        try:
            for item in plan:
                waiting.append(reader.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check_lengths(features: Rows, tiles: Rows) -> None:
    if len(features) != len(tiles):
        raise ContractError(
            f"{features.path} has {len(features)} tiles, {tiles.path} has {len(tiles)}; they must be of one fold or "
            "family. Gather them again: snakemake --forcerun gather_families"
        )


def _tokens_of_views(
    features: Rows, rows: Int[np.ndarray, " r"], views: Int[np.ndarray, " b"], blocks: tuple[int, ...]
) -> Float16[np.ndarray, "b blocks g g dim"]:
    """Tokens of each tile in its own view."""
    tokens = np.empty((len(rows), len(blocks), *features.shape("tokens")[3:]), np.float16)
    for position, view in enumerate(views.tolist()):
        one = slice(position, position + 1)
        for place, block in enumerate(blocks):
            features.read_into("tokens", rows[one], tokens[one, place], (view, block))
    return tokens
