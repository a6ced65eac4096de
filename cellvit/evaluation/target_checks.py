"""Integrity of targets: maps that keep their contract, coverage in reason, and an oracle that finds the truth again."""

from collections import Counter
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from cellvit.config.evaluation import IntegrityGates
from cellvit.errors import IntegrityError
from cellvit.evaluation.scoring import CLASS_KEYS
from cellvit.evaluation.values import figures
from cellvit.formats.documents import Check, Values
from cellvit.formats.tile_table import TileScores
from cellvit.inference.predictions import MapBatch
from cellvit.metrics.ratio import ratio
from cellvit.taxonomy import CLASS_NAMES

ORACLE_METRICS = ("aji", "pq", "dice")
"""What the check of an oracle reports, means over tiles."""


def checked_hv(batch: MapBatch) -> MapBatch:
    """The batch itself, once its perfect HV maps are float32, finite, in [-1, 1] and zero outside nuclei.

    Raises:
        IntegrityError: They are not; the message names the check and the tile.
    """
    for tile_id, instances, hv in zip(batch.tiles.tile_id, batch.tiles.instances, batch.hv, strict=True):
        if hv.dtype != np.float32:
            _fail(f"tile {tile_id}", "hv_dtype", "float32", str(hv.dtype), "a cast (int8 once gave an MSE of 4681)")
        if not np.isfinite(hv).all():
            _fail(f"tile {tile_id}", "hv_finite", "finite values", "NaN or infinity", "a division by an empty side")
        if np.abs(hv).max(initial=0) > 1:
            found = f"{hv.min():.4g} to {hv.max():.4g}"
            _fail(f"tile {tile_id}", "hv_range", "-1 to 1", found, "distances that are not scaled by their nucleus")
        outside = int(np.count_nonzero(hv[:, instances == 0]))
        if outside:
            cause = "HV and instances of different geometry (flip, crop, resize)"
            _fail(f"tile {tile_id}", "hv_outside", "0 outside nuclei", f"{outside} other values", cause)
    return batch


def coverage(tiles: TileScores) -> float:
    """Share of nuclear pixels; NaN without tiles."""
    return float(ratio(tiles.column("nuclear_px").sum(), tiles.column("pixels").sum()))


def true_magnitude(tiles: TileScores) -> float:
    """Mean magnitude of the true HV vectors on nuclear pixels; NaN without nuclei."""
    return float(ratio(tiles.column("hv_length_true").sum(), tiles.column("nuclear_px").sum()))


def oracle_figures(tiles: TileScores, *, seed: int) -> Values:
    """AJI, PQ and Dice of truth -> maps -> watershed."""
    found = figures(tiles, seed=seed)
    return {name: found[name] for name in ORACLE_METRICS}


def nuclei_by_class(tiles: TileScores) -> dict[str, int]:
    """True nuclei of each class."""
    return {
        name: int(tiles.column(f"tp_{key}").sum() + tiles.column(f"fn_{key}").sum())
        for name, key in zip(CLASS_NAMES[1:], CLASS_KEYS, strict=True)
    }


def tiles_by_fold(tiles: TileScores) -> dict[str, int]:
    """Tiles of each fold that has some."""
    return {str(fold): count for fold, count in sorted(Counter(tiles.fold.tolist()).items())}


def tiles_by_organ(tiles: TileScores) -> dict[str, int]:
    """Tiles of each organ that is there."""
    return dict(sorted(Counter(tiles.organ).items()))


def checks_of(family: str, tiles: TileScores, oracle: Mapping[str, Values], gates: IntegrityGates) -> tuple[Check, ...]:
    """The checks that hold for the family's targets; none are judged on tiles without a single nucleus.

    Args:
        oracle: Values of the oracle by method.

    Raises:
        IntegrityError: Coverage is outside its band, or the oracle's AJI under its gate with every method.
    """
    if not tiles.column("n_true").any():
        return ()
    hv = Check(name="hv", expected="float32, finite, -1 to 1, 0 outside nuclei", found=f"so on {len(tiles)} tiles")
    return hv, _checked_coverage(family, tiles, gates), _checked_oracle(family, oracle, gates)


def _checked_coverage(family: str, tiles: TileScores, gates: IntegrityGates) -> Check:
    low, high = gates.np_coverage
    found, expected = coverage(tiles), f"{low:g} to {high:g}"
    if not low <= found <= high:
        cause = (
            "the background channel of masks.npy is counted as nuclei"
            if found > high
            else "masks of other tiles than the images, or class channels that are missing"
        )
        _fail(f"family {family}", "np_coverage", expected, f"{found:.4f}", f"{cause} (setting gates.integrity)")
    return Check(name="np_coverage", expected=expected, found=f"{found:.4f}")


def _checked_oracle(family: str, oracle: Mapping[str, Values], gates: IntegrityGates) -> Check:
    expected = f"{gates.oracle_aji:g} or more with the better method"
    found = ", ".join(f"{found['aji'].value:.4f} ({method})" for method, found in oracle.items())
    if not any(found["aji"].value >= gates.oracle_aji for found in oracle.values()):
        cause = (
            "HV and watershed disagree on sign, axis or scale, touching nuclei are merged, "
            "or ids are not those of single nuclei (setting gates.integrity.oracle_aji)"
        )
        _fail(f"family {family}", "oracle_aji", expected, found, cause)
    return Check(name="oracle_aji", expected=expected, found=found)


def _fail(where: str, check: str, expected: str, found: str, cause: str) -> NoReturn:
    raise IntegrityError(
        f"{where}: check {check} failed: expected {expected}, found {found}. Likely cause: {cause}. "
        "Look at the tiles: the folds' masks are read by prepare_fold, HV is made by cellvit.hover.encode."
    )
