"""Candidates of all chunks -> nuclei of each chunk, in worker processes: imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from cellvit.data.slides.area import Area
from cellvit.errors import IntegrityError
from cellvit.formats.nuclei import NucleiTable
from cellvit.inference.parallel import Workers
from cellvit.prediction.chunks import Chunk
from cellvit.prediction.merge import REACH_WINDOWS, resolved
from cellvit.prediction.shards import read_nuclei, read_shard, write_nuclei


@dataclass(frozen=True, slots=True)
class Work:
    """The work folder of one image.

    Attributes:
        key: Key of its files.
    """

    folder: Path
    key: str

    def shard(self, chunk: Chunk) -> Path:
        """File of the candidates of a chunk."""
        return self.folder / f"{chunk.name}.npz"

    def nuclei(self, chunk: Chunk) -> Path:
        """File of the merged nuclei of a chunk."""
        return self.folder / f"{chunk.name}_nuclei.npz"


@dataclass(frozen=True, slots=True)
class _Task:
    """One chunk, and those around it.

    Attributes:
        area: None where the whole image is analysed.
    """

    work: Work
    chunk: Chunk
    near: tuple[Chunk, ...]
    area: Area | None
    scale: float


def merge_chunks(
    work: Work, chunks: Sequence[Chunk], pool: Workers, *, area: Area | None, scale: float
) -> Iterator[Int64[np.ndarray, " k"]]:
    """Write the nuclei of each chunk, those inside the area, and yield their number by class, 0 first.

    Args:
        area: None for the whole image.
        scale: Px of level 0 for each px of the model.
    """
    tasks = (_Task(work, chunk, _near(chunk, chunks), area, scale) for chunk in chunks)
    return pool.map(_merged, tasks)


def merged_nuclei(work: Work, chunks: Sequence[Chunk]) -> Iterator[NucleiTable]:
    """Nuclei of each chunk, as `merge_chunks` wrote them."""
    for chunk in chunks:
        found = read_nuclei(work.nuclei(chunk), work.key)
        if found is None:
            raise _lost(work.nuclei(chunk))
        yield found


def _merged(task: _Task) -> Int64[np.ndarray, " k"]:
    path = task.work.nuclei(task.chunk)
    found = read_nuclei(path, task.work.key)
    if found is None:
        around = [_within(_candidates(task.work, chunk), task) for chunk in task.near]
        own = _candidates(task.work, task.chunk)
        found = resolved(own, NucleiTable.concatenated([own.at(own.owned & False), *around]))
        if task.area is not None:
            found = found.at(task.area.contains(found.x * task.scale, found.y * task.scale))
        write_nuclei(path, task.work.key, found)
    return np.bincount(found.nucleus_class)


def _candidates(work: Work, chunk: Chunk) -> NucleiTable:
    found = read_shard(work.shard(chunk), work.key)
    if found is None:
        raise _lost(work.shard(chunk))
    return found.candidates


def _within(table: NucleiTable, task: _Task) -> NucleiTable:
    """Candidates of the windows that are near enough to matter."""
    rows, columns, reach = task.chunk.rows, task.chunk.columns, REACH_WINDOWS
    near = (table.row >= rows.start - reach) & (table.row < rows.stop + reach)
    return table.at(near & (table.column >= columns.start - reach) & (table.column < columns.stop + reach))


def _near(chunk: Chunk, chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    def meet(one: range, other: range) -> bool:
        return one.start - REACH_WINDOWS < other.stop and one.stop + REACH_WINDOWS > other.start

    return tuple(
        other
        for other in chunks
        if other != chunk and meet(chunk.rows, other.rows) and meet(chunk.columns, other.columns)
    )


def _lost(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: the file was removed or changed while the prediction was running. Fix: start the prediction again, alone "
        "in its output folder"
    )
