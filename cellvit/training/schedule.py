"""The learning rate as a function of the step."""

import math


def rate_at(step: int, *, peak: float, steps: int, warmup: float) -> float:
    """Learning rate of step 0..steps - 1: a linear rise to `peak`, then half a cosine down towards 0.

    Args:
        steps: Number of steps of the whole training.
        warmup: Share of the steps in the rise. The first step has a rate above 0, the last step of the rise has `peak`.

    References:
        Loshchilov and Hutter 2017, SGDR, arXiv 1608.03983 (cosine); Goyal et al. 2017, arXiv 1706.02677 (warm-up).

    Examples:
        >>> [round(rate_at(step, peak=1.0, steps=6, warmup=0.34), 2) for step in range(6)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = int(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
