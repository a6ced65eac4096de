import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import watershed

from cellvit.hover.decode import segment
from cellvit.hover.hovernet import flood
from cellvit.hover.upper_bound import PerfectMaps


def test_marker_parameters_drop_nuclei_whose_marker_is_too_small(pair: PerfectMaps) -> None:
    assert segment(*pair, hv_threshold=0.0).max() == 0
    assert segment(*pair, min_marker_px=250).max() == 0
    assert segment(*pair, opening_px=41).max() == 0


@settings(max_examples=300)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([2, 5, 50, 10**6]),
    coverage=st.sampled_from([0.3, 0.6, 0.8, 1.0]),
    n_markers=st.integers(0, 30),
)
def test_flooding_only_contested_pieces_gives_the_result_of_flooding_everything(
    seed: int, levels: int, coverage: float, n_markers: int
) -> None:
    rng = np.random.default_rng(seed)
    basins = -rng.integers(0, levels, (20, 24)) / levels
    pieces, _ = ndimage.label(rng.random((20, 24)) < coverage)
    markers = np.zeros((20, 24), np.int32)
    for number in range(1, n_markers + 1):  # markers of several pixels, some outside the mask, some overlapping
        row, column = rng.integers(0, 20), rng.integers(0, 24)
        markers[row : row + rng.integers(1, 4), column : column + rng.integers(1, 4)] = number

    assert np.array_equal(flood(basins, markers, pieces), watershed(basins, markers=markers, mask=pieces > 0))
