"""Batches of tokens and tiles on which a decoder trains and predicts, as arrays on the CPU."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float16, Float32, Int

from cellvit.errors import ContractError
from cellvit.formats.features import read_tokens
from cellvit.formats.hdf5 import Rows
from cellvit.formats.tiles import TileBatch, read_tiles

AHEAD: Final = 2  # batches read in advance: enough to hide the time of the disk, with the memory of three batches
IDENTITY: Final = 0  # position of the identity view in the views axis of a feature store

RowNumbers = Int[np.ndarray, " r"]
Item = TypeVar("Item")
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class SampledViews:
    """The view in which each tile of a training batch is shown to the decoder.

    Attributes:
        stored: Position in the views axis of the store from which the tokens are read.
        transforms: Flip or rotation that is then applied to tokens, image and ground truth, by number; 0 is identity.
        stain_mixes: Change of the colours of the image alone (`cellvit.data.stain.mixed`), after that; None for none.
        blur_px: Standard deviation of the Gaussian blur of the image alone, last; None for none.
    """

    stored: Int[np.ndarray, " b"]
    transforms: Int[np.ndarray, " b"]
    stain_mixes: Float32[np.ndarray, "b 4 3"] | None = None
    blur_px: Float32[np.ndarray, " b"] | None = None


class SampledRows(NamedTuple):
    """Tiles of a training batch, and the view that was sampled for each."""

    rows: RowNumbers
    views: SampledViews


@dataclass(frozen=True, slots=True)
class DecoderBatch:
    """Token grids of tiles, with their images and ground truth.

    Attributes:
        tokens: Patch tokens of one view of each tile, of the blocks that the decoder reads.
        tiles: The annotated tiles in the identity view, in the same order.
        sampled: The view of the tokens of each tile; None if all are in the identity view.
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


def sequential_rows(rows: RowNumbers, batch_size: int) -> list[RowNumbers]:
    """`rows` in order, in batches of `batch_size`; the last may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def shuffled_rows(rows: RowNumbers, batch_size: int, rng: np.random.Generator) -> list[RowNumbers]:
    """`rows` in random order, in the smallest number of batches, whose sizes differ by at most one.

    With equal sizes no batch is a single tile, whose statistics BatchNorm would use. Within a batch, rows are in the
    order of the store, which is faster to read.

    Examples:
        >>> [len(batch) for batch in shuffled_rows(np.arange(17), 16, np.random.default_rng(0))]
        [9, 8]
    """
    n_batches = -(-len(rows) // batch_size)
    return [np.sort(part) for part in np.array_split(rng.permutation(rows), n_batches)] if n_batches else []


def decoder_batches(
    features: Rows, tiles: Rows, plan: Iterable[RowNumbers], *, blocks: Sequence[int]
) -> Generator[DecoderBatch]:
    """Yield a batch of tiles in the identity view for each entry of `plan`, in order.

    Row i must be the same tile in `features` and `tiles`. A caller that does not read all batches must close the
    generator before it closes the stores.

    Args:
        blocks: Positions in the blocks axis of the feature store.

    Raises:
        ContractError: `features` and `tiles` have different lengths.
    """
    _check_lengths(features, tiles)

    def read(rows: RowNumbers) -> DecoderBatch:
        tokens = read_tokens(features, rows, view=IDENTITY, blocks=tuple(blocks))
        return DecoderBatch(tokens, read_tiles(tiles, rows))

    return read_ahead(read, plan)


def sampled_batches(
    features: Rows, tiles: Rows, plan: Iterable[SampledRows], *, blocks: Sequence[int]
) -> Generator[DecoderBatch]:
    """As `decoder_batches`, with the tokens of the view that was sampled for each tile; no other view is read."""
    return read_ahead(sampled_reader(features, tiles, blocks=blocks), plan)


def sampled_reader(features: Rows, tiles: Rows, *, blocks: Sequence[int]) -> Callable[[SampledRows], DecoderBatch]:
    """Reads tiles with the tokens of the view that was sampled for each; raises as `decoder_batches`."""
    _check_lengths(features, tiles)
    grid = features.shape("tokens")[3:]

    def read(sampled: SampledRows) -> DecoderBatch:
        rows, views = sampled
        tokens = np.empty((len(rows), len(blocks), *grid), np.float16)
        for position, view in enumerate(views.stored.tolist()):
            one = slice(position, position + 1)
            for place, block in enumerate(blocks):
                features.read_into("tokens", rows[one], tokens[one, place], (view, block))
        return DecoderBatch(tokens, read_tiles(tiles, rows), views)

    return read


def read_ahead(read: Callable[[Item], Read], plan: Iterable[Item]) -> Generator[Read]:
    """Yield ``read(item)`` for each item in order, while a thread reads at most `AHEAD` further items.

    An exception of `read` is raised here, at its item. Closing the generator waits for the current read, and starts no
    other.

    Examples:
        >>> list(read_ahead(str.upper, ["a", "b"]))
        ['A', 'B']
    """
    waiting: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        try:
            for item in plan:
                waiting.append(reader.submit(read, item))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check_lengths(features: Rows, tiles: Rows) -> None:
    if len(features) != len(tiles):
        raise ContractError(
            f"{features.path} has {len(features)} tiles, {tiles.path} has {len(tiles)}; both must belong to the same fold "
            "or family. Fix: snakemake --forcerun gather_families"
        )
