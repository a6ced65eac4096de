"""Temperature of the class probabilities of a decoder, fitted on validation nuclei and checked on patients that were left out.

References:
    Guo et al., On calibration of modern neural networks, ICML 2017 (temperature).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import minimize_scalar

from cellvit.evaluation.calibration import Nuclei

MIN_NUCLEI: Final = 50
"""Matched nuclei without which the temperature stays 1 (decision): with fewer, one wrong class decides it."""

MIN_WRONG: Final = 10
"""Matched nuclei of a wrong class without which the temperature stays 1 (decision): if every class is right, the likelihood
is greatest where every nucleus is certain, and so would be the first wrong one."""

TEMPERATURES: Final = (0.1, 10.0)
"""Where the temperature is searched (decision): published values lie between 0.5 and 3."""

CHECKS: Final = 5
"""Parts into which the patients are dealt for the check (decision; the usual number of a cross-validation)."""

_LEAST: Final = 1e-7
"""Probability that stands for 0 in the likelihood: the resolution of float32."""


def checked_temperature(by_unit: Sequence[Nuclei]) -> tuple[float, str]:
    """The fitted temperature if it also helps units that it was not fitted on, else 1; and what stood in the way.

    The units are dealt to five parts. Each part is judged with the temperature of all others. If the true classes are not more
    likely than without any temperature, what was fitted holds for some patients and not for patients in general.

    Args:
        by_unit: Matched validation nuclei of each patient, or of each tile where patients are not known; at least one unit.
    """
    n_classes = by_unit[0].probability.shape[1]
    temperature, note = fit_temperature(Nuclei.concatenated(by_unit, n_classes))
    if temperature == 1:
        return temperature, note
    units = [unit for unit in by_unit if len(unit.true_class)]
    if len(units) < 2:
        return (
            1.0,
            "the nuclei are of one patient, so that the temperature cannot be checked on another one and stays 1",
        )
    parts = [units[start::CHECKS] for start in range(min(CHECKS, len(units)))]
    plain, tempered = 0.0, 0.0
    for part in parts:
        left_out = Nuclei.concatenated(part, n_classes)
        others = Nuclei.concatenated([unit for other in parts if other is not part for unit in other], n_classes)
        plain += _total_surprise(left_out, 1.0)
        tempered += _total_surprise(left_out, fit_temperature(others)[0])
    if tempered >= plain:
        return 1.0, (
            f"a temperature of {temperature:.3g} fits the validation nuclei, but does not help patients that it was not fitted "
            "on, so that it stays 1"
        )
    return temperature, note


def fit_temperature(nuclei: Nuclei) -> tuple[float, str]:
    """Temperature of the greatest likelihood of the true classes, and what stood in the way (empty if nothing did)."""
    n, n_classes = nuclei.probability.shape
    if n_classes == 1:
        return 1.0, "there is one class, so that the temperature stays 1"
    if n < MIN_NUCLEI:
        return 1.0, f"{n} validation nuclei are matched, fewer than {MIN_NUCLEI}, so that the temperature stays 1"
    n_wrong = int(np.count_nonzero(~nuclei.right))
    if n_wrong < MIN_WRONG:
        return 1.0, (
            f"{n_wrong} of {n} validation nuclei have a wrong class, fewer than {MIN_WRONG}, so that the temperature stays 1"
        )
    logits = _logits(nuclei)
    low, high = np.log(TEMPERATURES)
    # In the logarithm of the temperature, in which halving and doubling are steps of the same length.
    found = minimize_scalar(
        lambda step: _negative_log_likelihood(logits / math.exp(step), nuclei.true_class - 1),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
    at_limit = min(found.x - low, high - found.x) < 1e-2
    return math.exp(found.x), f"the temperature is at the limit of the search, {TEMPERATURES}" if at_limit else ""


def _total_surprise(nuclei: Nuclei, temperature: float) -> float:
    """Sum over the nuclei of minus the logarithm of the probability of the true class."""
    return len(nuclei.true_class) * _negative_log_likelihood(_logits(nuclei) / temperature, nuclei.true_class - 1)


def _logits(nuclei: Nuclei) -> Float64[np.ndarray, "n c"]:
    logits: Float64[np.ndarray, "n c"] = np.log(np.maximum(nuclei.probability.astype(np.float64), _LEAST))
    return logits


def _negative_log_likelihood(logits: Float64[np.ndarray, "n c"], true: Int64[np.ndarray, " n"]) -> float:
    """Mean over the nuclei of minus the logarithm of the probability of the true class."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_true = np.take_along_axis(shifted, true[:, None], axis=1)[:, 0]
    return float((np.log(np.exp(shifted).sum(axis=1)) - of_true).mean())
