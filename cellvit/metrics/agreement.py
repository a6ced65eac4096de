"""Do the counts of nuclei agree tile by tile? Bias, limits of agreement and concordance from moments that can be added.

References:
    Bland and Altman, Statistical methods for assessing agreement between two methods of clinical measurement,
    Lancet 1986 (bias, 95 % limits of agreement).
    Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 1989.
"""

from typing import Final

import numpy as np
from jaxtyping import Float64

from cellvit.metrics.ratio import ratio

LIMITS: Final = 1.96
"""Standard deviations of the differences around the bias that hold 95 % of the tiles (Bland and Altman 1986)."""


def moments(true: Float64[np.ndarray, " n"], predicted: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 6"]:
    """Row (1, t, p, t^2, p^2, t p) of each tile with t true and p predicted nuclei; rows can be added."""
    return np.stack([np.ones(len(true)), true, predicted, true**2, predicted**2, true * predicted], axis=1)


def count_bias(sums: Float64[np.ndarray, "*batch 6"]) -> Float64[np.ndarray, "*batch"]:
    """Mean of predicted minus true nuclei of a tile; NaN without tiles.

    Examples:
        >>> float(count_bias(moments(np.array([10.0, 20.0]), np.array([12.0, 20.0])).sum(axis=0)))
        1.0
    """
    return ratio(sums[..., 2] - sums[..., 1], sums[..., 0])


def count_limit(sums: Float64[np.ndarray, "*batch 6"]) -> Float64[np.ndarray, "*batch"]:
    """Half-width of the 95 % limits of agreement: `LIMITS` standard deviations of predicted minus true nuclei.

    NaN with fewer than two tiles.
    """
    n, true, predicted, true_2, predicted_2, product = np.moveaxis(sums, -1, 0)
    square = predicted_2 + true_2 - 2 * product - ratio((predicted - true) ** 2, n)
    limit: Float64[np.ndarray, "*batch"] = LIMITS * np.sqrt(np.maximum(ratio(square, np.maximum(n - 1, 0)), 0))
    return limit


def count_concordance(sums: Float64[np.ndarray, "*batch 6"]) -> Float64[np.ndarray, "*batch"]:
    """Lin's concordance correlation of true and predicted nuclei of a tile, in -1..1; 1 only if they are equal everywhere.

    NaN if no two tiles differ on either side and both sides agree, and without tiles.

    Examples:
        >>> true, predicted = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])  # correlated, but one too many
        >>> round(float(count_concordance(moments(true, predicted).sum(axis=0))), 4)
        0.5714
    """
    n, true, predicted, true_2, predicted_2, product = np.moveaxis(sums, -1, 0)
    # Variances, covariance and squared difference of the means, all times n^2: whole numbers, without rounding.
    variances = n * true_2 - true**2 + n * predicted_2 - predicted**2
    return ratio(2 * (n * product - true * predicted), variances + (true - predicted) ** 2)
