"""Which tiles are unlike the training data: mean and whitening of the CLS tokens that trained a split, and a threshold.

A safetensors file with a `NoveltyHeader` in the metadata, as checkpoints; neither torch nor a decoder is needed to use it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from pydantic import Field

from cellvit.errors import AbsentModelError, ContractError
from cellvit.formats.digests import OwnDigest, check_unchanged
from cellvit.formats.documents import Document, Number, Record
from cellvit.formats.headed import arrays_of, headed_digest, header_of, write_headed

NOVELTY_QUANTILE: Final = 0.99
"""Share of the validation tiles that lie below the threshold (decision: one tile in a hundred is marked for nothing)."""


Role = Literal["train", "validate", "test"]
"""What the tiles of a fold are used for in a split."""


class FlaggedShare(Record):
    """Tiles of a role (train, validate, test) that lie above the threshold, of one organ, or of all where it is empty."""

    role: Role
    organ: str = ""
    n: int
    n_flagged: int


class NoveltyHeader(Document):
    """What a novelty model was made from, and how many tiles lie above its threshold.

    Attributes:
        status: fitted; or absent, with the reason (too few training tiles, or no validation tiles).
        encoder: The encoder of the CLS tokens, as the headers of checkpoints record it.
        threshold: Distance above which a tile is unlike the training data.
        quantile: Share of the validation tiles below it.
        shrinkage: Weight of the identity in the covariance of the standardised tokens, 0..1 (Ledoit and Wolf 2004).
        n_train, n_validate: Tiles from which mean and covariance, and the threshold, were computed.
        shares: Tiles above the threshold, by role: of all organs together, then of each organ.
        threshold_from: How the threshold was found, in words.
        weights_sha256: Digest of the arrays.
        sha256: Digest of the header without this entry.
    """

    format: Literal["cellvit-novelty"] = "cellvit-novelty"
    version: int = 1
    split: str
    status: Literal["fitted", "absent"]
    reason: str = ""
    encoder: dict[str, Any] = Field(default_factory=dict)
    threshold: Number = float("nan")
    quantile: float = NOVELTY_QUANTILE
    shrinkage: Number = float("nan")
    n_train: int = 0
    n_validate: int = 0
    shares: tuple[FlaggedShare, ...] = ()
    threshold_from: str = ""
    weights_sha256: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Novelty:
    """A fitted novelty model.

    Attributes:
        mean: Mean CLS token of the training tiles.
        whitening: The Mahalanobis distance of a token is the length of (token - mean) @ whitening, divided by the square root
            of d: about 1 for tokens like those of the training tiles.
    """

    header: NoveltyHeader
    mean: Float32[np.ndarray, " d"]
    whitening: Float32[np.ndarray, "d d"]

    @property
    def threshold(self) -> float:
        """Distance above which a tile is unlike the training data."""
        return self.header.threshold

    def distances(self, cls: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
        """Distance of each CLS token (identity view) from the training tiles, 0 and up.

        Raises:
            ContractError: The tokens are of another encoder.
        """
        if cls.ndim != 2 or cls.shape[1] != len(self.mean):
            raise ContractError(
                f"novelty: cls: expected tokens of {len(self.mean)} values, found {cls.shape}. Use the encoder of the model."
            )
        # float64, so that the size of a batch does not decide on which side of the threshold a tile lies
        white = (cls.astype(np.float64) - self.mean) @ self.whitening.astype(np.float64)
        lengths: Float64[np.ndarray, " n"] = np.sqrt((white**2).mean(axis=1))
        return lengths

    def unlike(self, cls: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """True for tiles that are unlike the training data; raises as `distances`."""
        unlike: Bool[np.ndarray, " n"] = self.distances(cls) > self.threshold
        return unlike


def read_novelty_header(path: Path) -> NoveltyHeader:
    """The header alone; an absent model has one too.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a novelty model.
    """
    return header_of(path, NoveltyHeader, "novelty model")


def read_novelty(path: Path) -> Novelty:
    """The model at `path`, as its step wrote it.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a novelty model.
        AbsentModelError: The header says why there is none.
        IntegrityError: The file was changed after it was written.
    """
    header = read_novelty_header(path)
    if header.status == "absent":
        raise AbsentModelError(f"{path}: {header.reason}")
    arrays = arrays_of(path)
    check_unchanged(path, headed_digest(header, arrays))
    return Novelty(header, arrays["mean"], arrays["whitening"])


def novelty_digest(path: Path) -> OwnDigest:
    """The digest that a novelty model records of itself, and the one of what it holds; errors as of `read_novelty_header`."""
    return headed_digest(read_novelty_header(path), arrays_of(path))


def write_novelty(path: Path, novelty: Novelty) -> None:
    """Write a fitted model; the bytes depend on nothing else."""
    write_headed(path, novelty.header, {"mean": novelty.mean, "whitening": novelty.whitening})


def write_absent_novelty(path: Path, header: NoveltyHeader) -> None:
    """Write a header that says why no model was fitted, without arrays."""
    write_headed(path, header, {})
