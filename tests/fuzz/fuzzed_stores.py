"""Stores of a run (HDF5), finished and unfinished."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from fuzzed import Format

from cellvit.errors import IntegrityError
from cellvit.formats.content import content_of
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import open_family, write_members
from cellvit.formats.features import FEATURES, open_features, read_features
from cellvit.formats.hdf5 import ROW_SHA256
from cellvit.formats.maps import MAPS, append_maps, open_maps
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles, read_tiles
from cellvit.formats.writing import resumable_writing, writing
from cellvit.workflow.verification import faults_of, provenance_in

ORIGIN = Provenance(data_set=PANNUKE, made_from={"images": "a" * 64})
ROWS = np.arange(2)


def write_tiles(folder: Path) -> Path:
    image = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    instances = np.zeros((2, 256, 256), np.int32)
    instances[:, 100:120, 90:115] = 1
    batch = TileBatch(
        image, instances, (instances > 0).astype(np.uint8), ("Colon", "Skin"), ("f1-00000", "f1-00001"), ("A", "B")
    )
    with writing(folder / "fold1.h5", TILES, 2, {}, ORIGIN) as writer:
        append_tiles(writer, batch)
    return folder / "fold1.h5"


def checked(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Read a product as a step does: its digest for the cache, every row against its own, then its content."""

    def read_checked(path: Path) -> object:
        content = content_of(path)
        if faults := faults_of(path):
            raise IntegrityError("\n".join(faults))
        return content, provenance_in(path), read(path)

    return read_checked


@checked
def read_tile_store(path: Path) -> object:
    with open_tiles(path) as store:
        batch = read_tiles(store, ROWS)
        return [batch.image, batch.instances, batch.classes, batch.organ, batch.tile_id, batch.patient, store.digest]


def write_features(folder: Path) -> Path:
    tiles = write_tiles(folder / "tiles")
    origin = ORIGIN.model_copy(update={"made_from": {"tiles": content_of(tiles).digest}})
    rng = np.random.default_rng(2)
    path = folder / "features" / "fold1.h5"
    with writing(path, FEATURES, 2, {"views": 1, "dim": 8, "blocks": 2, "g": 4}, origin) as writer:
        tokens = rng.normal(size=(2, 1, 2, 4, 4, 8)).astype(np.float16)
        writer.append(cls=rng.normal(size=(2, 1, 8)).astype(np.float32), tokens=tokens)
    return path


@checked
def read_feature_store(path: Path) -> object:
    with open_features(path) as store:
        batch = read_features(store, ROWS)
        return [batch.cls, batch.tokens, store.digest]


def write_family(folder: Path) -> Path:
    features = write_features(folder)
    path = folder / "family" / "fold1.h5"
    write_members(path, fold=1, organs=["Skin"], tiles=folder / "tiles" / "fold1.h5", features=features)
    return path


@checked
def read_family(path: Path) -> object:
    home = path.parents[1]
    with open_family([path], [home / "tiles" / "fold1.h5"], [home / "features" / "fold1.h5"]) as family:
        return [family.fold, family.tiles.read("image", np.arange(1)), family.features.read("tokens", np.arange(1))]


def write_maps(folder: Path) -> Path:
    tiles = write_tiles(folder / "tiles")
    with open_tiles(tiles) as store, writing(folder / "maps.h5", MAPS, 2, {}, ORIGIN) as writer:
        arrays = {"np_prob": np.full((2, 256, 256), 0.5, np.float16), "hv": np.zeros((2, 2, 256, 256), np.float16)}
        classes = np.ones((2, 256, 256), np.uint8)
        append_maps(writer, **arrays, nt_class=classes, averaged=False, tile_sha256=store.all(ROW_SHA256))
    return folder / "maps.h5"


@checked
def read_maps(path: Path) -> object:
    with (
        open_tiles(path.parent / "tiles" / "fold1.h5") as tiles,
        open_maps(path, tiles, ROWS, average_views=False) as maps,
    ):
        return [maps.read(column, ROWS) for column in ("np_prob", "hv", "nt_class")]


def write_unfinished(folder: Path) -> Path:
    """A store of which one of two rows was written when its writer was stopped."""
    try:
        with resumable_writing(
            folder / "fold1.h5", FEATURES, 2, {"views": 1, "dim": 8, "blocks": 1, "g": 4}, ORIGIN, made_by={"a": "1"}
        ) as writer:
            writer.append(cls=np.ones((1, 1, 8), np.float32), tokens=np.ones((1, 1, 1, 4, 4, 8), np.float16))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return folder / ".partial" / "fold1.h5"


def finish_store(path: Path) -> object:
    """Resume the writing, and read what comes out of it."""
    store = path.parents[1] / "fold1.h5"
    with resumable_writing(
        store, FEATURES, 2, {"views": 1, "dim": 8, "blocks": 1, "g": 4}, ORIGIN, made_by={"a": "1"}
    ) as writer:
        n = 2 - writer.row
        writer.append(cls=np.ones((n, 1, 8), np.float32), tokens=np.ones((n, 1, 1, 4, 4, 8), np.float16))
    return read_feature_store(store)


STORES: Sequence[Format] = (
    Format("store: tiles", write_tiles, read_tile_store, has_digest=True),
    Format("store: features", write_features, read_feature_store, has_digest=True),
    Format("store: family", write_family, read_family, has_digest=True),
    Format("store: maps", write_maps, read_maps, has_digest=True),
    Format("store: unfinished", write_unfinished, finish_store, has_digest=True, is_remade=True),
)
