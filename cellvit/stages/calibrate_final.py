"""Stage `calibrate_final`: calibrations of all splits -> those of the final models, and a novelty model of all folds."""

import logging
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np

from cellvit.config.data import FINAL_SPLIT
from cellvit.evaluation.calibration_pooling import pooled
from cellvit.evaluation.family_tokens import TileToken, joined, tokens_by_tile
from cellvit.evaluation.novelty import Tokens, fitted, why_absent, with_shares
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.family import open_family
from cellvit.formats.novelty import (
    NoveltyHeader,
    read_novelty_header,
    write_absent_novelty,
    write_novelty,
)
from cellvit.inference.blocks import encoder_record
from cellvit.workflow.arguments import Code, Input, Output, Through, check_paired

log = logging.getLogger(__name__)

Paths = tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input and output."""

    members: Annotated[Paths, Input("members of every decoder's family: those of all folds of one, then of the next")]
    tiles: Annotated[Paths, Through("tile stores of all folds")]
    features: Annotated[Paths, Through("feature stores of all folds")]
    checkpoints: Annotated[Paths, Input("final decoders, one per family")]
    of_splits: Annotated[Paths, Input("calibrations of every decoder in every split")]
    novelties: Annotated[Paths, Input("novelty models of all splits")]
    calibrations: Annotated[Paths, Output("JSON to write for each final decoder")]
    novelty: Annotated[Path, Output("novelty model to write")]
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write a calibration for each final decoder, and the novelty model; each says why it is absent, if it is."""
    check_paired(tiles=arguments.tiles, features=arguments.features)
    check_paired(checkpoints=arguments.checkpoints, calibrations=arguments.calibrations)
    check_paired(members=arguments.members, tiles_of_decoders=arguments.tiles * len(arguments.checkpoints))
    of_splits = [read_document(path, DecoderCalibration) for path in arguments.of_splits]
    for checkpoint, output in zip(arguments.checkpoints, arguments.calibrations, strict=True):
        header = read_header(checkpoint)
        fields: dict[str, Any] = {"status": "absent", "reason": header.reason}
        if header.status == "trained":
            mine = [one for one in of_splits if one.family == header.family]
            fields = pooled(mine, header.dataset.class_names[1:])
        provenance = provenance_of(output, [checkpoint, *arguments.of_splits], {})
        calibration = DecoderCalibration(provenance=provenance, split=FINAL_SPLIT, family=header.family, **fields)
        write_document(output, calibration)
        log.info(
            "calibration split=%s family=%s status=%s temperature=%.4g units=%d %s",
            *(FINAL_SPLIT, header.family, calibration.status, calibration.temperature),
            *(len(calibration.units), calibration.reason or calibration.note),
        )
    _write_novelty(arguments)


def _write_novelty(arguments: Arguments) -> None:
    """All folds train, so that none is left for a threshold: it is the median of those of the splits."""
    found = [one for one in map(read_novelty_header, arguments.novelties) if one.status == "fitted"]
    tokens, encoder = _tokens(arguments)
    reason = why_absent(tokens) or ("" if found else "no split has a novelty model")
    header = NoveltyHeader(
        provenance=provenance_of(arguments.novelty, [*arguments.members, *arguments.novelties], {}),
        split=FINAL_SPLIT,
        status="absent" if reason else "fitted",
        reason=reason,
        encoder=encoder,
    )
    if reason:
        write_absent_novelty(arguments.novelty, header)
        log.warning("novelty split=%s absent: %s", FINAL_SPLIT, reason)
        return
    threshold_from = f"the median of the thresholds of the splits {', '.join(one.split for one in found)}"
    fields = {"threshold": median(one.threshold for one in found), "threshold_from": threshold_from}
    model = fitted(header.model_copy(update=fields), tokens)
    write_novelty(arguments.novelty, with_shares(model, {"train": tokens}))
    log.info("novelty split=%s threshold=%.4g tiles=%d", FINAL_SPLIT, model.threshold, len(tokens.cls))


def _tokens(arguments: Arguments) -> tuple[Tokens, dict[str, Any]]:
    """CLS tokens of all tiles of all families, and the encoder that made them."""
    found: dict[str, TileToken] = {}
    encoder: dict[str, Any] = {}
    n_folds = len(arguments.tiles)
    for start in range(0, len(arguments.members), n_folds):
        members = arguments.members[start : start + n_folds]
        with open_family(members, arguments.tiles, arguments.features) as data:
            found |= tokens_by_tile(data, np.arange(len(data.tiles)))
            encoder = encoder_record(data.features)
    return joined(found), encoder
