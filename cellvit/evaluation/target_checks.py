"""Checks of the targets: valid HV maps, plausible coverage, and decoding that recovers the ground truth from them."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float, Int32

from cellvit.config.evaluation import IntegrityGates
from cellvit.evaluation.annotated import n_nuclei
from cellvit.evaluation.checks import CheckResult, passed_checks
from cellvit.evaluation.values import value_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.documents import Value, Values
from cellvit.formats.tile_table import TileScores
from cellvit.inference.predictions import MapBatch
from cellvit.metrics.intervals import interval_of_mean
from cellvit.metrics.ratio import ratio

FIX: Final = "look at the tiles: prepare_fold reads the masks, cellvit.hover.encode computes HV"
"""Ends the message of a check that failed."""

MIN_ORGAN_TILES: Final = 10
"""Tiles with nuclei from which the upper bound of an organ is checked: the mean of fewer depends on single nuclei."""

_UNLIKE: Final = (
    "HV and watershed disagree on sign, axis or scale, touching nuclei are merged, or ids are not those of single nuclei "
    "(setting gates.integrity.upper_bound_aji)"
)


def checked_hv(batch: MapBatch) -> MapBatch:
    """The batch itself, if its perfect HV maps are float32, finite, in [-1, 1] and zero outside nuclei.

    Raises:
        IntegrityError: They are not; the message names the tile and the check.
    """
    for tile_id, instances, hv in zip(batch.tiles.tile_id, batch.tiles.instances, batch.hv, strict=True):
        passed_checks(f"tile {tile_id}", [one for one in _check_hv(instances, hv) if not one.passed], fix=FIX)
    return batch


def coverage(tiles: TileScores) -> float:
    """Share of nuclear pixels among those that are annotated; NaN without any."""
    return float(ratio(tiles.column("nuclear_px").sum(), tiles.column("pixels").sum()))


def hv_length(tiles: TileScores) -> float:
    """Mean length of the true HV vectors over nuclear pixels; NaN without nuclei."""
    return float(ratio(tiles.column("hv_length_true").sum(), tiles.column("nuclear_px").sum()))


def nuclei_by_class(tiles: TileScores, data_set: DataSet) -> dict[str, int]:
    """True nuclei of each class."""
    return {
        name: int(tiles.column(f"tp_{key}").sum() + tiles.column(f"fn_{key}").sum())
        for name, key in zip(data_set.class_names[1:], data_set.class_keys, strict=True)
    }


def tiles_by_organ(tiles: TileScores) -> dict[str, int]:
    """Tiles of each organ that has some; none where no tile names its organ."""
    return dict(sorted(Counter(filter(None, tiles.text("organ"))).items()))


def aji_by_organ(upper_bounds: Mapping[str, TileScores]) -> Values:
    """AJI of the better method on the tiles of each organ; an undefined one is the worse."""

    def aji(tiles: TileScores, organ: str) -> Value:
        of_organ = tiles.where(tiles.organs == organ)
        return value_of(interval_of_mean(of_organ.column("aji"), groups=of_organ.groups))

    return {
        organ: max(
            (aji(tiles, organ) for tiles in upper_bounds.values()),
            key=lambda found: -1.0 if math.isnan(found.value) else found.value,
        )
        for organ in tiles_by_organ(next(iter(upper_bounds.values())))
    }


def target_results(
    tiles: TileScores, upper_bound: Mapping[str, Values], by_organ: Values, gates: IntegrityGates
) -> list[CheckResult]:
    """Checks of the targets of a fold; there is none for tiles without a single nucleus.

    Args:
        upper_bound: Values of the upper bound by method.
        by_organ: AJI of the better method by organ.
    """
    if not n_nuclei(tiles):
        return []
    valid = CheckResult("hv", "float32, finite, -1 to 1, 0 outside nuclei", f"so on {len(tiles)} tiles", passed=True)
    return [valid, _check_coverage(tiles, gates), *_check_upper_bound(upper_bound, by_organ, gates.upper_bound_aji)]


def _check_hv(instances: Int32[np.ndarray, "h w"], hv: Float[np.ndarray, "2 h w"]) -> list[CheckResult]:
    outside = int(np.count_nonzero(hv[:, instances == 0]))
    finite, in_range = bool(np.isfinite(hv).all()), not np.abs(hv).max(initial=0) > 1
    shown = f"{hv.min():.4g} to {hv.max():.4g}"
    return [
        CheckResult("hv_dtype", "float32", str(hv.dtype), hv.dtype == np.float32, "a cast of the maps to another type"),
        CheckResult("hv_finite", "finite values", shown, finite, "a division by the side of a nucleus without pixels"),
        CheckResult("hv_range", "-1 to 1", shown, in_range, "distances that are not scaled by the nucleus"),
        CheckResult(
            "hv_outside",
            "0 outside nuclei",
            f"{outside} other values",
            not outside,
            "HV and instances of different geometry (flip, crop, resize)",
        ),
    ]


def _check_coverage(tiles: TileScores, gates: IntegrityGates) -> CheckResult:
    (low, high), found = gates.np_coverage, coverage(tiles)
    cause = (
        "the background channel of masks.npy is counted as nuclei"
        if found > high
        else "masks of other tiles than the images, or class channels that are missing"
    )
    cause += " (setting gates.integrity.np_coverage)"
    return CheckResult("np_coverage", f"{low:g} to {high:g}", f"{found:.4f}", low <= found <= high, cause)


def _check_upper_bound(upper_bound: Mapping[str, Values], by_organ: Values, limit: float) -> list[CheckResult]:
    aji = {method: values["aji"].value for method, values in upper_bound.items()}
    organs = {organ: value.value for organ, value in by_organ.items() if value.n >= MIN_ORGAN_TILES}
    lowest = ", ".join(
        f"{organs[organ]:.4f} ({organ})" for organ in sorted(organs, key=lambda organ: organs[organ])[:3]
    )
    return [
        CheckResult(
            "upper_bound_aji",
            f"{limit:g} or more with the better method",
            ", ".join(f"{value:.4f} ({method})" for method, value in aji.items()),
            any(value >= limit for value in aji.values()),
            _UNLIKE,
        ),
        CheckResult(
            "upper_bound_aji_by_organ",
            f"{limit:g} or more for every organ with {MIN_ORGAN_TILES} tiles or more",
            f"{lowest or 'no such organ'}; organs: {len(organs)}",
            all(value >= limit for value in organs.values()),
            _UNLIKE,
        ),
    ]
