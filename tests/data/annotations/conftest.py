"""A small annotated image that the tests of all formats of arrays share."""

import numpy as np
import pytest


@pytest.fixture
def ids():
    """Instance ids of an image of 40 x 60 px, with gaps: two nuclei that touch, one cut by the border, one of two parts."""
    ids = np.zeros((40, 60), np.int32)
    ids[10:18, 10:20] = 7
    ids[10:18, 20:30] = 3
    ids[30:40, 50:60] = 300
    ids[25:30, 5:10] = ids[25:30, 12:17] = 12
    return ids


@pytest.fixture
def instances(ids):
    """The same nuclei, numbered without gaps in the order of their ids: 3, 7, 12, 300."""
    return np.searchsorted([3, 7, 12, 300], ids, side="right").astype(np.int32)
