"""CLS tokens of training tiles -> mean, whitening and threshold, by which a tile is unlike the training data.

References:
    Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018 (Mahalanobis distance).
    Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, Journal of Multivariate
    Analysis 2004 (shrinkage; lemma 3.1 and section 3.3).
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from cellvit.formats.novelty import NOVELTY_QUANTILE, FlaggedShare, Novelty, NoveltyHeader, Role

MIN_TRAIN: Final = 2
"""Fewest training tiles from which a covariance can be computed."""

_LEAST_SCALE: Final = 0.01
"""Least scale of a value of the token, as a share of the mean (decision): one that is constant must not decide alone."""


class Tokens(NamedTuple):
    """CLS tokens of the tiles of one role in a split, with the organ of each tile ("" where there is none)."""

    cls: Float32[np.ndarray, "n d"]
    organ: tuple[str, ...]


class Shrunk(NamedTuple):
    """Covariance after shrinkage, and the weight of the identity in it, 0..1."""

    covariance: Float64[np.ndarray, "d d"]
    shrinkage: float


def why_absent(train: Tokens, validate: Tokens | None = None) -> str:
    """Why no model can be fitted; empty if one can. Without `validate`, the threshold comes from elsewhere."""
    if len(train.cls) < MIN_TRAIN:
        return f"{len(train.cls)} training tiles: at least {MIN_TRAIN} are needed"
    if not np.ptp(train.cls, axis=0).any():
        return "the CLS tokens of all training tiles are equal"
    return "no validation tiles" if validate is not None and not len(validate.cls) else ""


def fitted(header: NoveltyHeader, train: Tokens) -> Novelty:
    """Mean and whitening of the training tiles, still without a threshold.

    Each value of the token is divided by its standard deviation before the shrinkage, which pulls all directions towards
    one variance: levels of an encoder differ in scale (docs/doubt.md has what that changes on real tiles).
    """
    mean, deviation = train.cls.mean(axis=0, dtype=np.float64), train.cls.std(axis=0, dtype=np.float64)
    scale = np.maximum(deviation, _LEAST_SCALE * deviation.mean())
    covariance, shrinkage = shrunk_covariance((train.cls - mean) / scale)
    values, vectors = np.linalg.eigh(covariance)
    # Symmetric, so that the signs of the vectors, which differ between machines, do not matter. The bound guards against
    # eigenvalues of 0 without shrinkage.
    lengths = np.maximum(values, np.finfo(np.float32).eps * values[-1]) ** -0.5
    whitening = ((vectors * lengths) @ vectors.T / scale[:, None]).astype(np.float32)
    fields = {"shrinkage": shrinkage, "n_train": len(train.cls)}
    return Novelty(header.model_copy(update=fields), mean.astype(np.float32), whitening)


def with_threshold_of(novelty: Novelty, validate: Tokens) -> Novelty:
    """The model with the quantile of the validation tiles' distances as its threshold."""
    threshold = float(np.quantile(novelty.distances(validate.cls), NOVELTY_QUANTILE, method="higher"))
    origin = f"the {NOVELTY_QUANTILE:.0%} quantile of the validation tiles"
    fields = {"threshold": threshold, "n_validate": len(validate.cls), "threshold_from": origin}
    return Novelty(novelty.header.model_copy(update=fields), novelty.mean, novelty.whitening)


def with_shares(novelty: Novelty, roles: Mapping[Role, Tokens]) -> Novelty:
    """The model with the tiles of each role that it flags."""
    shares = tuple(share for role, tokens in roles.items() for share in _shares(novelty, role, tokens))
    return Novelty(novelty.header.model_copy(update={"shares": shares}), novelty.mean, novelty.whitening)


def shrunk_covariance(centred: Float64[np.ndarray, "n d"]) -> Shrunk:
    """Covariance of centred tokens, shrunk towards a multiple of the identity (Ledoit and Wolf 2004).

    The weight needs no validation: it is the estimated error of the sample covariance by its distance from the identity.

    Examples:
        >>> shrunk_covariance(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).covariance.tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    n, d = centred.shape
    sample = centred.T @ centred / n
    mean_variance = np.trace(sample) / d
    target = mean_variance * np.eye(d)
    distance = ((sample - target) ** 2).sum()
    # sum over tiles of || x x^T - sample ||^2 = sum |x|^4 - n || sample ||^2
    lengths = (centred**2).sum(axis=1)
    error = ((lengths**2).sum() / n - (sample**2).sum()) / n
    shrinkage = float(min(1.0, error / distance)) if distance > 0 else 1.0
    return Shrunk((1 - shrinkage) * sample + shrinkage * target, shrinkage)


def _shares(novelty: Novelty, role: Role, tokens: Tokens) -> Iterator[FlaggedShare]:
    if not len(tokens.cls):
        return
    unlike, organs = novelty.unlike(tokens.cls), np.array(tokens.organ)
    yield FlaggedShare(role=role, n=len(unlike), n_flagged=int(unlike.sum()))
    for organ in sorted(set(tokens.organ) - {""}):
        here = unlike[organs == organ]
        yield FlaggedShare(role=role, organ=organ, n=len(here), n_flagged=int(here.sum()))
