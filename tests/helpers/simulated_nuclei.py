"""Matched nuclei whose class probabilities are right at a known temperature."""

import numpy as np

from cellvit.evaluation.calibration import Nuclei
from cellvit.hover.classes import calibrated


def simulated(n: int, temperature: float, seed: int = 0, n_classes: int = 4) -> Nuclei:
    """Nuclei whose probabilities are right at `temperature`, and are given without it."""
    rng = np.random.default_rng(seed)
    given = rng.dirichlet(np.full(n_classes, 0.7), n).astype(np.float32)
    honest = calibrated(given, temperature).astype(np.float64)
    true = (honest.cumsum(axis=1) / honest.sum(axis=1, keepdims=True) > rng.random((n, 1))).argmax(axis=1) + 1
    return Nuclei(given, given.argmax(axis=1) + 1, true)
