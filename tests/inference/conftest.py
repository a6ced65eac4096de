"""Feature stores whose header names the given settings."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from cellvit.formats.dataset import PANNUKE
from cellvit.formats.features import FEATURES, open_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.provenance import Provenance
from cellvit.formats.writing import writing


@pytest.fixture
def feature_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Open a store of one tile with the given settings and numbers of views and blocks."""
    with ExitStack() as stack:

        def make(settings: dict[str, object], *, views: int = 1, blocks: int = 1) -> Store:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
            sizes = {"views": views, "blocks": blocks, "g": 2, "dim": 4}
            with writing(path, FEATURES, 1, sizes, Provenance(data_set=PANNUKE, settings=settings)) as writer:
                cls, tokens = np.zeros((1, views, 4), np.float32), np.zeros((1, views, blocks, 2, 2, 4), np.float16)
                writer.append(cls=cls, tokens=tokens)
            return stack.enter_context(open_features(path))

        yield make
