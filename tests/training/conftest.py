"""Features and tiles of one small family in memory, and settings of a training that takes a second."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvit.config.steps import TrainHovernetSettings
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import FamilyData
from cellvit.formats.features import FEATURES, open_features
from cellvit.formats.hdf5 import Selection
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.formats.writing import writing
from cellvit.training.hovernet import RowsByRole

N_TILES, GRID, DIM = 8, 16, 4


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """CPU threads of torch: one, unless the test sets another number."""
    before, wanted = torch.get_num_threads(), getattr(request, "param", 1)
    torch.set_num_threads(wanted)
    yield wanted
    torch.set_num_threads(before)


def _tiles() -> TileBatch:
    """Dark discs on a bright background, of two classes; the last tile is empty."""
    rows, columns = np.ogrid[:256, :256]
    instances = np.zeros((N_TILES, 256, 256), np.int32)
    classes = np.zeros((N_TILES, 256, 256), np.uint8)
    for tile in range(N_TILES - 1):
        for label, (row, column) in enumerate(((40 + 9 * tile, 60), (120, 128 + 9 * tile), (200, 90)), 1):
            inside = (rows - row) ** 2 + (columns - column) ** 2 <= 24**2
            instances[tile][inside], classes[tile][inside] = label, 1 + label % 2
    image = np.where(instances[..., None] > 0, np.uint8([90, 50, 140]), np.uint8([240, 210, 225]))
    return TileBatch(image, instances, classes, ("Colon",) * N_TILES, tuple(f"f1-{row:05d}" for row in range(N_TILES)))


@pytest.fixture
def open_family_data(tmp_path: Path) -> Iterator[Callable[..., FamilyData]]:
    """Tokens are noise, so that only the image can be learned from.

    The tokens of `damaged` rows and views are not finite: a training that reads them fails. `change` changes the tiles.
    """

    def make(
        n_views: int = 1,
        settings: dict[str, object] | None = None,
        damaged: Sequence[tuple[int, int]] = (),
        change: Callable[[TileBatch], TileBatch] = lambda batch: batch,
    ) -> FamilyData:
        rng = np.random.default_rng(0)
        tokens = rng.normal(size=(N_TILES, n_views, 1, GRID, GRID, DIM)).astype(np.float16)
        for row, view in damaged:
            tokens[row, view] = np.nan
        with writing(tmp_path / "tiles.h5", TILES, N_TILES, {}, Provenance(data_set=PANNUKE)) as writer:
            append_tiles(writer, change(_tiles()))
        sizes = {"views": n_views, "blocks": 1, "g": GRID, "dim": DIM}
        with writing(
            tmp_path / "features.h5", FEATURES, N_TILES, sizes, Provenance(data_set=PANNUKE, settings=settings or {})
        ) as writer:
            writer.append(cls=rng.normal(size=(N_TILES, n_views, DIM)).astype(np.float32), tokens=tokens)
        stores = [open_tiles(tmp_path / "tiles.h5"), open_features(tmp_path / "features.h5")]
        tiles, features = (
            Selection(tmp_path / "members.h5", [stack.enter_context(store)], [np.arange(N_TILES)]) for store in stores
        )
        return FamilyData(tiles, features, np.ones(N_TILES, np.int64))

    with ExitStack() as stack:
        yield make


@pytest.fixture
def family_data(open_family_data: Callable[..., FamilyData]) -> FamilyData:
    return open_family_data()


@pytest.fixture
def rows() -> RowsByRole:
    """The last tile, without nuclei, is among those that validate."""
    return RowsByRole(train=np.arange(4), validate=np.array([4, 7]))


@pytest.fixture
def small_settings() -> TrainHovernetSettings:
    return TrainHovernetSettings.model_validate(
        {
            "decoder": {"widths": [8, 8, 8, 8, 8], "stem_widths": [6, 8]},
            "training": {"steps": 4, "record_every": 2, "validate_every": 4, "batch_size": 2, "learning_rate": 1e-2},
            "seed": 0,
        }
    )
