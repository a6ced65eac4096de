"""Results of chunks as files in the work folder of an image: a prediction that was stopped reads them and goes on.

A shard is an npz file without pickled objects. It holds a key, a digest of everything that decides it: a shard with another
key is not read.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Int32

from cellvit.formats.atomic import replacing
from cellvit.formats.nuclei import NucleiTable, Outlines

log = logging.getLogger(__name__)

_KEY: Final = "key"
_OUTLINES: Final = ("points", "ring_starts", "ring_nucleus", "ring_is_hole")


@dataclass(frozen=True, slots=True)
class Shard:
    """What was predicted for a chunk.

    Attributes:
        tiles: Row and column of the active tiles; `unlike` says which of them are unlike the training data.
        n_encoded: Tiles that were encoded for it.
    """

    candidates: NucleiTable
    tiles: Int32[np.ndarray, "k 2"]
    unlike: Bool[np.ndarray, " k"]
    n_encoded: int


def write_shard(path: Path, key: str, shard: Shard) -> None:
    """Write a shard whole or not at all."""
    own = {"tiles": shard.tiles, "tiles_unlike": shard.unlike, "n_encoded": np.array(shard.n_encoded)}
    _write(path, key, own | _arrays(shard.candidates))


def read_shard(path: Path, key: str) -> Shard | None:
    """The shard at `path`; None if there is none, it is damaged, or it has another key."""
    found = _read(path, key)
    if found is None:
        return None
    return Shard(_table(found), found["tiles"], found["tiles_unlike"], int(found["n_encoded"]))


def write_nuclei(path: Path, key: str, nuclei: NucleiTable) -> None:
    """Write merged nuclei of a chunk whole or not at all."""
    _write(path, key, _arrays(nuclei))


def read_nuclei(path: Path, key: str) -> NucleiTable | None:
    """Merged nuclei of a chunk; None as `read_shard`."""
    found = _read(path, key)
    return None if found is None else _table(found)


def _arrays(table: NucleiTable) -> dict[str, np.ndarray]:
    return table.columns() | {f"outlines_{name}": getattr(table.outlines, name) for name in _OUTLINES}


def _table(arrays: dict[str, np.ndarray]) -> NucleiTable:
    outlines = Outlines(**{name: arrays[f"outlines_{name}"] for name in _OUTLINES})
    columns = {name: arrays[name] for name in NucleiTable.none(1).columns()}
    return NucleiTable(**columns, outlines=outlines)


def _write(path: Path, key: str, arrays: dict[str, np.ndarray]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{_KEY: np.array(key)}, **arrays)


def _read(path: Path, key: str) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file[_KEY]) != key:
                log.info("%s is of another prediction and is replaced", path.name)
                return None
            return {name: file[name] for name in file.files}
    except Exception as error:  # readers of damaged archives raise nearly anything
        log.warning("%s cannot be read and is predicted again: %s", path.name, error)
        return None
