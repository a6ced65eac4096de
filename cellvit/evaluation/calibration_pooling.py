"""Calibrations of one decoder in all splits -> that of its final model, which has neither validation nor test tiles."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellvit.evaluation.calibration import count_bounds, reliability_of_sums
from cellvit.formats.calibration import CountBound, DecoderCalibration, Reliability


def pooled(calibrations: Sequence[DecoderCalibration], class_names: Sequence[str]) -> dict[str, Any]:
    """Fields of the calibration of the final model: what the validation tiles of all splits say together.

    The decoder of each split was not trained on its validation tiles, so that its errors there are those of new tiles. A
    unit that validates in several splits counts once, with its greatest error.

    Args:
        calibrations: Those of the splits, in order; absent ones are left out.
    """
    fitted = [one for one in calibrations if one.status == "fitted"]
    if not fitted:
        reasons = "; ".join(f"split {one.split}: {one.reason}" for one in calibrations)
        return {"status": "absent", "reason": f"no split has a calibration ({reasons})"}
    by_patient = any(one.unit == "patient" for one in fitted)
    counted = [one for one in fitted if (one.unit == "patient") == by_patient]
    units = tuple(unit for one in counted for unit in one.units)
    bounds = count_bounds(units, (), class_names)
    return {
        "status": "fitted",
        "note": _note(fitted, counted),
        "temperature": _mean_temperature(fitted),
        "n_nuclei": sum(one.n_nuclei for one in fitted),
        "before": _together([one.before for one in fitted]),
        "after": _together([one.after for one in fitted]),
        "unit": "patient" if by_patient else "tile",
        "units": units,
        "counts": tuple(_with_tests(bound, counted) for bound in bounds),
    }


def _mean_temperature(fitted: Sequence[DecoderCalibration]) -> float:
    """Geometric mean, weighted by the validation nuclei; 1 without any."""
    weights = np.array([one.n_nuclei for one in fitted], np.float64)
    if not weights.any():
        return 1.0
    return math.exp(np.average(np.log([one.temperature for one in fitted]), weights=weights))


def _together(parts: Sequence[Reliability | None]) -> Reliability | None:
    """Reliability of the nuclei of all parts; None without any."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    n = np.array([[one.n for one in part.bins] for part in found], np.int64)
    means = np.array([[(one.mean_probability, one.accuracy) for one in part.bins] for part in found])
    sums = (np.nan_to_num(means) * n[..., None]).sum(axis=0)  # an empty bin has no mean, and adds nothing
    return reliability_of_sums(n.sum(axis=0), sums[:, 0], sums[:, 1])


def _with_tests(bound: CountBound, counted: Sequence[DecoderCalibration]) -> CountBound:
    """The bound with the test units of all splits, each judged by the bound of its own split."""
    tests = [one for calibration in counted for one in calibration.counts if one.class_name == bound.class_name]
    sums = {name: sum(getattr(one, name) for one in tests) for name in ("test_covered", "test_n")}
    return bound.model_copy(update=sums)


def _note(fitted: Sequence[DecoderCalibration], counted: Sequence[DecoderCalibration]) -> str:
    splits = ", ".join(one.split for one in fitted)
    note = (
        f"pooled from the calibrations of the splits {splits}: mean temperature weighted by nuclei, bounds of counts from the "
        "validation units of all; reliability and coverage are those of the tests of the splits, since no fold is left to "
        "test a final model"
    )
    left_out = ", ".join(one.split for one in fitted if one not in counted)
    return note + (f"; without the counts of the splits {left_out}, whose units are tiles" if left_out else "")
