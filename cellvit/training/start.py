"""Where the training of a decoder starts: weights of the shared decoder, or those of a file that fit this decoder."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from cellvit.config.base import flattened
from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.errors import AbsentModelError, CellvitError, StaleFileError
from cellvit.formats.checkpoints import CheckpointHeader, StartWeights, read_checkpoint
from cellvit.formats.digests import sha256_of
from cellvit.formats.family import FamilyData
from cellvit.formats.headed import Arrays
from cellvit.formats.seen import image_digests, seen_tiles
from cellvit.inference.blocks import ENCODER_SECTIONS
from cellvit.training.hovernet import RowsByRole

log = logging.getLogger(__name__)

_SAME: Final = ("kind", "split", "folds", "encoder", "classes", "mpp", "architecture")
"""What a decoder has in common with the shared one that it starts from: neither may have seen other folds."""

_FREE: Final = ("dropout", "token_dropout", "blocks", "n_classes")
"""Entries of an architecture that need not be equal: two hold for the training alone, the number of blocks follows from their
list, which is compared, and the head of other classes starts new."""

_BEFORE: Final = {"image_norm": "fixed"}
"""Entries that files of earlier versions lack, with the value that their decoders have, whatever the default is now."""

_CLASS_HEAD: Final = "nt"
"""Part of the decoder with an output for each class; the other parts fit whatever the classes are."""


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from by name, and the header of the checkpoint that they come from.

    Attributes:
        record: What the new checkpoint records of a file; None of the shared decoder, which is an input like any other.
    """

    header: CheckpointHeader
    weights: Arrays
    record: StartWeights | None = None


def start_of_shared(path: Path, planned: CheckpointHeader) -> Start:
    """All weights of the shared decoder of the same split, for the decoder that `planned` describes.

    Raises:
        StaleFileError: It is a decoder of another split, encoder or architecture.
    """
    found, weights = read_checkpoint(path)
    differing = [name for name in _SAME if getattr(found, name) != getattr(planned, name)]
    if differing:
        raise StaleFileError(
            f"{path}: the training cannot start from this decoder, because it differs from the one to train.\n"
            f"{_lines((name, getattr(planned, name), getattr(found, name)) for name in differing)}"
            "Fix: use the same decoder settings for every family, or set training.start_from: scratch"
        )
    log.info("the training starts from the decoder of family=%s step=%d path=%s", found.family, found.step, path)
    return Start(found, weights)


def start_of_file(path: Path, planned: CheckpointHeader, data: FamilyData, rows: RowsByRole) -> Start:
    """The weights of a file that fit the decoder that `planned` describes; a head of other classes is left out.

    Raises:
        StaleFileError: It is not a trained decoder of this project, or its encoder, blocks, architecture or resolution differ.
    """
    try:
        found, weights = read_checkpoint(path)
    except AbsentModelError as error:
        raise StaleFileError(f"training.start_from: {error}. Fix: name a checkpoint that holds weights") from error
    except CellvitError as error:  # its fix is to make the file again, which is not ours
        cause = str(error).partition("Fix:")[0].rstrip()
        raise StaleFileError(f"training.start_from: {cause}\nFix: name an intact decoder of this version") from error
    _check_fits(path, found, planned)
    same_classes = found.classes == planned.classes
    taken = {name: values for name, values in weights.items() if same_classes or _part(name) != _CLASS_HEAD}
    seen = seen_tiles(found.seen, data.tiles, rows.validate)
    record = StartWeights(
        file=path.name,
        sha256=sha256_of(path),
        split=found.split,
        family=found.family,
        step=found.step,
        classes=found.classes,
        taken=tuple(sorted(set(map(_part, taken)))),
        new=() if same_classes else (_CLASS_HEAD,),
        n_validation_tiles_seen=len(seen),
    )
    _log(path, record, planned, n_validate=len(rows.validate))
    return Start(found, taken, record)


def with_start(planned: CheckpointHeader, start: Start | None, data: FamilyData, rows: RowsByRole) -> CheckpointHeader:
    """The header with what the weights have seen before and in this training, and with the licences of both."""
    used = [*rows.train.tolist(), *rows.validate.tolist()]
    seen = set(image_digests(data.tiles, np.array(used, np.int64)))
    if start is None:
        return planned.model_copy(update={"seen": tuple(sorted(seen))})
    return planned.model_copy(
        update={
            "start": start.record,
            "seen": tuple(sorted(seen | set(start.header.seen))),
            "sources": tuple(sorted({*planned.sources, *start.header.sources})),
            "licence": "; ".join(dict.fromkeys((planned.licence, start.header.licence))),
        }
    )


def _check_fits(path: Path, found: CheckpointHeader, planned: CheckpointHeader) -> None:
    expected, actual = _geometry(planned), _geometry(found)
    differing = [name for name in expected | actual if expected.get(name) != actual.get(name)]
    if differing:
        raise StaleFileError(
            f"training.start_from: {path}: these weights do not fit the decoder to train.\n"
            f"{_lines((name, expected.get(name), actual.get(name)) for name in differing)}"
            "Fix: set encoder, features, decoder and mpp as in the run that trained the file (its header records them), or "
            "set training.start_from: scratch"
        )


def _geometry(header: CheckpointHeader) -> dict[str, Any]:
    """Everything that must be equal for weights to mean the same: encoder, blocks, architecture, size and resolution."""
    architecture = _BEFORE | {name: value for name, value in header.architecture.items() if name not in _FREE}
    settings = {name: header.encoder[name] for name in ENCODER_SECTIONS if name in header.encoder}
    named: dict[str, Any] = {"kind": header.kind, "mpp": header.mpp, "decoder.blocks": header.encoder.get("blocks")}
    if len(settings) == len(ENCODER_SECTIONS):
        encoder = ExtractFeaturesSettings.model_validate(settings)
        named["features.input_px"] = encoder.features.input_px
        if encoder.encoder.spec.levels:  # stored as one grid, so that decoder.blocks does not tell them apart
            named["features.blocks"] = list(encoder.encoder.spec.read_blocks(encoder.features.blocks))
        named |= flattened({"encoder": settings["encoder"]})
    return named | flattened({"decoder": architecture})


def _log(path: Path, record: StartWeights, planned: CheckpointHeader, *, n_validate: int) -> None:
    taken = ", ".join(record.taken)
    log.info(
        "the training starts from path=%s sha256=%s family=%s step=%d taken=%s",
        path,
        record.sha256,
        record.family,
        record.step,
        taken,
    )
    if record.new:
        classes = f"classes of the file {list(record.classes)}, of this run {list(planned.classes)}"
        log.info("parts that start from random weights: %s (%s)", ", ".join(record.new), classes)
    if record.n_validation_tiles_seen:
        log.warning(
            "the start weights have seen %d of %d validation tiles: the selected step and the decoding may fit them too well",
            record.n_validation_tiles_seen,
            n_validate,
        )


def _part(weight: str) -> str:
    """Part of the decoder that a weight belongs to, as ``nt`` of ``nt.bias``."""
    return weight.partition(".")[0]


def _lines(differing: Iterable[tuple[str, object, object]]) -> str:
    return "".join(f"  {name}: expected {expected}, found {found}\n" for name, expected, found in differing)
