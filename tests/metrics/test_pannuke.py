import subprocess
import sys

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.overlap import PanopticCounts, as_rows
from cellvit.metrics.pannuke import pooled_mpq_of_sums, tile_scores

TRUTH = np.array([[1, 1, 0, 2, 2, 0, 7, 7]], np.int32)
CLASSES = np.array([[1, 1, 0, 1, 1, 0, 3, 3]], np.uint8)
EMPTY = np.zeros_like(TRUTH)


def test_a_wrong_class_lowers_class_metrics_but_not_bpq() -> None:
    mistaken = np.where(TRUTH == 2, 4, CLASSES)

    scores = tile_scores(TRUTH, CLASSES, TRUTH, mistaken)

    assert scores.bpq == 1.0
    np.testing.assert_allclose(scores.pq, [1 / 1.5, np.nan, 1, np.nan, np.nan])
    assert scores.mpq == pytest.approx((1 / 1.5 + 1) / 2)
    assert scores.mpq_strict == pytest.approx((1 / 1.5 + 1 + 0) / 3)  # class 4 is predicted, but absent from the truth
    assert scores.counts[3] == PanopticCounts(0, 1, 0, 0.0)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.where(TRUTH == 1, 6, 1), r"0\.\.5 .*found 0\.\.6"),
        (CLASSES.astype(float), r"found 0\.0\.\.3\.0 of float64"),
        (CLASSES[:, :4], r"\(1, 8\) and \(1, 4\)"),
    ],
)
def test_invalid_class_maps_are_refused(classes: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        tile_scores(TRUTH, classes, TRUTH, CLASSES)


def test_pooled_mpq_divides_once_after_summing_over_tiles() -> None:
    perfect = as_rows(tile_scores(TRUTH, CLASSES, TRUTH, CLASSES).counts)
    missed = as_rows(tile_scores(TRUTH, CLASSES, EMPTY, EMPTY).counts)

    pooled = pooled_mpq_of_sums(np.stack([perfect, perfect + missed]))

    np.testing.assert_allclose(pooled, [1, 1 / 1.5])  # half of the nuclei of each class; the mean over tiles is 0.5


def test_importing_the_metrics_loads_no_torch() -> None:
    code = "import sys; from cellvit.metrics import classification, intervals, maps, pannuke, detection; "

    done = subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=False)

    assert done.returncode == 0
