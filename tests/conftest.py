"""Fixtures that many tests share: small folds in PanNuke's layout, tile stores, and where the real tiles lie."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from cellvit.data.pannuke import fold_files
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles
from cellvit.formats.writing import writing

REPOSITORY = Path(__file__).parents[1]
REAL_TILES = REPOSITORY.parent / "shared" / "real_tiles"

# A test must not fail because other programs use the machine: Hypothesis allows 200 ms for an example by default.
settings.register_profile("without_time_limit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without_time_limit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests of the workflow in one process, which share a run; skip tests on real tiles where there are none."""
    for item in items:
        if "workflow" in item.keywords:
            item.add_marker(pytest.mark.xdist_group("workflow"))
    if REAL_TILES.is_dir():
        return
    skip = pytest.mark.skip(reason="needs ../shared/real_tiles, which is not part of the repository")
    for item in items:
        if "real_tiles" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def small_masks() -> Callable[[int], np.ndarray]:
    """Masks of one tile: a neoplastic, an inflammatory and a border-cut epithelial nucleus, ids with gaps."""

    def make(shift: int = 0) -> np.ndarray:
        masks = np.zeros((256, 256, 6))
        rows, columns = np.ogrid[:256, :256]
        for channel, label, (row, column), radius in (
            (0, 7, (60, 60 + shift), 14),
            (1, 3, (120, 150), 7),
            (4, 41, (200, 2), 11),
        ):
            masks[(rows - row) ** 2 + (columns - column) ** 2 < radius**2, channel] = label
        masks[..., 5] = masks[..., :5].sum(axis=-1) == 0
        return masks

    return make


WriteFold = Callable[..., Path]


@pytest.fixture
def write_raw_fold(small_masks: Callable[[int], np.ndarray]) -> WriteFold:
    """Write a fold in the official layout: one tile an organ, the last one without nuclei where `empty_last`.

    `patients` and `sources` are written where they are given; the official folds have no such files.
    """

    def write(
        root: Path,
        fold: int,
        organs: Sequence[str],
        *,
        empty_last: bool = False,
        patients: Sequence[str] = (),
        sources: Sequence[str] = (),
    ) -> Path:
        files = fold_files(root, fold)
        for path in files.by_name.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(fold)
        masks = np.stack([small_masks(4 * row) for row in range(len(organs))]) if organs else np.zeros((0, 256, 256, 6))
        if empty_last:
            masks[-1] = 0
            masks[-1, ..., 5] = 1
        images = (
            220 - 110 * (masks[..., :5].sum(axis=-1, keepdims=True) > 0) + rng.integers(0, 30, (*masks.shape[:3], 3))
        )
        np.save(files.images, images.astype(np.float64))
        np.save(files.masks, masks.astype(np.float64))
        np.save(files.types, np.array(organs, dtype=np.str_))
        if patients:
            np.save(files.patients, np.array(patients, dtype=np.str_))
        if sources:
            np.save(files.sources, np.array(sources, dtype=np.str_))
        return root

    return write


@pytest.fixture
def write_tile_store() -> Callable[..., Path]:
    """Write a tile store with one square nucleus a tile."""

    def write(
        path: Path,
        fold: int,
        organs: Sequence[str],
        *,
        simulated: bool = False,
        patients: Sequence[str] = (),
        sources: Sequence[str] = (),
    ) -> Path:
        n = len(organs)
        instances = np.zeros((n, 256, 256), np.int32)
        for row in range(n):
            instances[row, 100 : 120 + row, 90:115] = 1
        classes = (instances > 0).astype(np.uint8)
        image = np.random.default_rng(fold).integers(0, 256, (n, 256, 256, 3), dtype=np.uint8)
        tile_id = tuple(f"f{fold}-{row:05d}" for row in range(n))
        batch = TileBatch(image, instances, classes, tuple(organs), tile_id, tuple(patients), tuple(sources))
        origin = Provenance(data_set=PANNUKE, made_from={"images": f"{fold}" * 64}, simulated=simulated)
        with writing(path, TILES, n, {}, origin) as writer:
            append_tiles(writer, batch)
        return path

    return write
