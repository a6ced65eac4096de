"""Stores with random content in the layout of H-optimus-0, and the peak memory of a step that reads them."""

import subprocess
import sys
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from kernel_tiles import synthetic_nuclei

from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import write_members
from cellvit.formats.features import FEATURES, FeatureBatch, append_features
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, tile_id_of
from cellvit.formats.timing import read_timings
from cellvit.formats.writing import writing

DIM: Final = 1536
GRID: Final = 16
"""Side of the token grid at 224 px."""

_ORGAN: Final = "Colon"
_NUCLEI: Final = 25
_DISTINCT: Final = 16
"""Annotations and token grids that differ; further tiles repeat them."""


class Family(NamedTuple):
    """Files of a family, one per fold in each list, as `cellvit.formats.family.open_family` takes them."""

    members: tuple[Path, ...]
    tiles: tuple[Path, ...]
    features: tuple[Path, ...]


def write_tiles(path: Path, n: int, fold: int = 1) -> Path:
    """A tile store of random images with the nuclei of synthetic tiles."""
    rng = np.random.default_rng(fold)
    distinct = [synthetic_nuclei(_NUCLEI, rng) for _ in range(min(n, _DISTINCT))]
    with writing(path, TILES, n, {}, Provenance(data_set=PANNUKE)) as writer:
        for row, nuclei in enumerate(islice(cycle(distinct), n)):
            image = rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
            names = (_ORGAN,), (tile_id_of(fold, row),)
            append_tiles(writer, TileBatch(image, nuclei.instances[None], nuclei.classes[None], *names))
    return path


def write_features(path: Path, n: int) -> Path:
    """A feature store of random tokens of one view and block."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((_DISTINCT, 1, 1, GRID, GRID, DIM), dtype=np.float32).astype(np.float16)
    encoder = {
        "encoder": {"preset": "h-optimus-0"},
        "features": {"input_px": 224, "blocks": [39], "views": ["identity"]},
    }
    sizes = {"views": 1, "blocks": 1, "g": GRID, "dim": DIM}
    with writing(path, FEATURES, n, sizes, Provenance(settings=encoder, data_set=PANNUKE)) as writer:
        for row in range(n):
            cls, at = rng.standard_normal((1, 1, DIM), dtype=np.float32), row % _DISTINCT
            append_features(writer, FeatureBatch(cls, tokens[at : at + 1]))
    return path


def write_family(folder: Path, tiles_of_fold: Mapping[int, int]) -> Family:
    """A family with every tile of its folds; `tiles_of_fold` says how many each fold has."""
    family = Family(*(tuple(folder / f"{kind}{fold}.h5" for fold in tiles_of_fold) for kind in Family._fields))
    for (fold, n), members, tiles, features in zip(tiles_of_fold.items(), *family, strict=True):
        write_tiles(tiles, n, fold)
        write_features(features, n)
        write_members(members, fold=fold, organs=[_ORGAN], tiles=tiles, features=features)
    return family


def peak_gb(folder: Path, step: str, **arguments: object) -> float:
    """Peak host memory of a step of the graph (with that of its largest worker), which runs in a process of its own.

    A shell starts it, because on Linux the peak of a process includes that of the process that started it.
    """
    timing = folder / "timing.json"
    command = [sys.executable, "-m", "cellvit", step, "--timing", str(timing)]
    for name, value in arguments.items():
        values = value if isinstance(value, tuple) else (value,)
        command += [f"--{name.replace('_', '-')}", *map(str, values)]
    subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *command], check=True)
    return read_timings([timing])[0].memory_mb * 2**20 / 1e9
