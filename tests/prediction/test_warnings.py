"""What a prediction says of its class probabilities."""

import pytest

from cellvit.formats.calibration import DecoderCalibration, Reliability
from cellvit.formats.provenance import Provenance
from cellvit.prediction.warnings import doubtful_probabilities


def calibration(error: float | None) -> DecoderCalibration:
    after = None if error is None else Reliability(bins=(), error=error, n=900)
    return DecoderCalibration(provenance=Provenance(), split="1", family="all", status="fitted", after=after)


def test_probabilities_that_were_wrong_on_the_test_tiles_are_called_not_reliable() -> None:
    (warning,) = doubtful_probabilities([calibration(0.03), calibration(0.423)])

    assert "not reliable" in warning
    assert "by 0.42 on average" in warning


@pytest.mark.parametrize("error", [pytest.param(0.08, id="small_error"), pytest.param(None, id="never_tested")])
def test_other_probabilities_cause_no_warning(error: float | None) -> None:
    assert list(doubtful_probabilities([calibration(error), None])) == []
