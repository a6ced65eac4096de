"""Quotients and means that are NaN if they are undefined."""

import numpy as np
from jaxtyping import Float, Float64, Shaped


def ratio(
    numerator: Shaped[np.ndarray, "*batch"] | float, denominator: Shaped[np.ndarray, "*batch"] | float
) -> Float64[np.ndarray, "*batch"]:
    """Quotient of sums, elementwise; NaN if the denominator is 0, without a warning.

    Examples:
        >>> ratio(np.array([1, 0]), np.array([2, 0]))
        array([0.5, nan])
    """
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Float64[np.ndarray, "*batch"] = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=quotient, where=bottom != 0)
    return quotient


def mean_defined(values: Float[np.ndarray, " n"]) -> float:
    """Mean of the values that are not NaN; NaN if there is none.

    Examples:
        >>> mean_defined(np.array([0.2, np.nan, 0.4])), mean_defined(np.array([np.nan]))
        (0.30000000000000004, nan)
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
