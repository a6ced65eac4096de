"""Checkpoints: safetensors with a `CheckpointHeader` in the metadata; nothing is pickled, and no torch is needed."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cellvit.errors import AbsentModelError
from cellvit.formats.digests import OwnDigest, check_unchanged
from cellvit.formats.documents import Digests, Document, Number, Record
from cellvit.formats.headed import Arrays, arrays_of, headed_digest, header_of, write_headed


class StartWeights(Record):
    """The checkpoint from whose weights a training started (`training.start_from` names its file).

    Attributes:
        file: Name of the file, without its folder; `sha256` is the digest of its bytes.
        split, family, step: What this checkpoint is by its own header.
        classes: Its classes.
        taken: Parts of the decoder that started from its weights.
        new: Parts that started from random weights.
        n_validation_tiles_seen: Validation tiles of the new training whose images these weights had already seen.
    """

    file: str
    sha256: str
    split: str
    family: str
    step: int
    classes: tuple[str, ...]
    taken: tuple[str, ...]
    new: tuple[str, ...]
    n_validation_tiles_seen: int = 0


class CheckpointHeader(Document):
    """Header of a checkpoint: what the weights are, what they were made from and what they have seen.

    Attributes:
        status: trained; or absent, where there was nothing to train on (no weights in the file).
        architecture: Arguments that rebuild the module.
        classes: Names of the classes in the order of the outputs of NT, "Background" first.
        organs: Organs in the order of the outputs of OrganHead.
        folds: Folds by role (train, validate); `tiles` counts their tiles.
        trained_organs: Organs of the training tiles.
        sources: Sources of the tiles that trained a decoder, or the decoder that it started from; "" is among them if some
            of these tiles name none.
        step: Number of optimizer steps after which the weights were selected.
        selection: How they were selected.
        final: True for a final model, which was trained on all folds: none was left to test it.
        start: Where the training started, if its weights came from a file.
        seen: Digests of the images that trained or selected the weights of a decoder, or of the one that it started from
            (`cellvit.formats.tiles.image_digests`), sorted: no test tile may be among them.
        metrics: Values of that step.
        tables: Digest of the history of the training, under the name history.
        weights_sha256: Digest of the weights.
        sha256: Digest of the header without this entry.
        licence: What the licence of the data means for the weights.
    """

    format: Literal["cellvit-checkpoint"] = "cellvit-checkpoint"
    version: int = 6
    kind: Literal["organ_head", "hovernet"]
    split: str
    family: str = ""
    status: Literal["trained", "absent"]
    reason: str = ""
    architecture: dict[str, Any] = Field(default_factory=dict)
    encoder: dict[str, Any] = Field(default_factory=dict)
    classes: tuple[str, ...] = ()
    organs: tuple[str, ...] = ()
    mpp: float
    folds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    tiles: dict[str, int] = Field(default_factory=dict)
    trained_organs: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    code: str = ""
    step: int = 0
    selection: str = ""
    final: bool = False
    start: StartWeights | None = None
    seen: tuple[str, ...] = ()
    metrics: dict[str, Number] = Field(default_factory=dict)
    tables: Digests = Field(default_factory=dict)
    weights_sha256: str = ""
    sha256: str = ""
    licence: str = ""


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without loading weights.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a checkpoint of this project.
    """
    return header_of(path, CheckpointHeader, "checkpoint")


def read_checkpoint(path: Path) -> tuple[CheckpointHeader, dict[str, np.ndarray]]:
    """Header and weights of a trained model, as its training wrote them.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a checkpoint of this project.
        AbsentModelError: The header says that there was nothing to train on.
        IntegrityError: The file was changed after it was written.
    """
    header = read_header(path)
    if header.status == "absent":
        raise AbsentModelError(f"{path}: {header.reason}")
    weights = arrays_of(path)
    check_unchanged(path, headed_digest(header, weights))
    return header, weights


def checkpoint_digest(path: Path) -> OwnDigest:
    """The digest that a checkpoint records of itself, and the one of what it holds; errors as of `read_header`."""
    return headed_digest(read_header(path), arrays_of(path))


def write_checkpoint(path: Path, header: CheckpointHeader, weights: Arrays) -> None:
    """Write weights and header; the bytes depend on nothing else."""
    write_headed(path, header, weights)
