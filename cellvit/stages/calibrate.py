"""Stage `calibrate`: the decoders of a split on its validation tiles -> calibrated probabilities, bounds of counts, novelty."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cellvit.config.steps import EvaluateSettings
from cellvit.data.batches import RowNumbers
from cellvit.evaluation.calibration import (
    Nuclei,
    TileFindings,
    TileMaps,
    count_bounds,
    findings_of,
    reliability_of,
    unit_counts,
)
from cellvit.evaluation.family_tokens import TileToken, joined, tokens_by_tile
from cellvit.evaluation.novelty import Tokens, fitted, why_absent, with_shares, with_threshold_of
from cellvit.evaluation.systems import Decoder, read_decoder
from cellvit.evaluation.temperature import checked_temperature
from cellvit.formats.calibration import DecoderCalibration
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.documents import write_document
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.novelty import NoveltyHeader, Role, write_absent_novelty, write_novelty
from cellvit.formats.provenance import Provenance
from cellvit.formats.seen import check_unseen
from cellvit.inference.blocks import encoder_record
from cellvit.inference.lanes import shared_out
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import Workers, workers
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired

log = logging.getLogger(__name__)

Folds = tuple[int, ...]
Paths = tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[EvaluateSettings, Setting("JSON: settings of the calibration, of which there are none")]
    split: Annotated[str, Setting("name of the split")]
    train_folds: Annotated[Folds, Setting("folds that trained the models")]
    validate_folds: Annotated[Folds, Setting("folds to fit on")]
    test_folds: Annotated[Folds, Setting("folds to check on")]
    members: Annotated[Paths, Input("members of every decoder's family: those of all folds of one, then of the next")]
    tiles: Annotated[Paths, Through("tile stores: of the folds that train, validate and test")]
    features: Annotated[Paths, Through("feature stores of these folds")]
    checkpoints: Annotated[Paths, Input("decoders, one per family")]
    watersheds: Annotated[Paths, Input("their watershed parameters")]
    calibrations: Annotated[Paths, Output("JSON to write for each decoder")]
    novelty: Annotated[Path, Output("novelty model to write")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""

    @property
    def folds(self) -> dict[Role, Folds]:
        """Folds by role."""
        return {"train": self.train_folds, "validate": self.validate_folds, "test": self.test_folds}

    def members_of(self, place: int) -> Paths:
        """Members of the family of the decoder at `place`, one file a fold."""
        return self.members[place * len(self.tiles) : (place + 1) * len(self.tiles)]


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found on the tiles of some folds, and the names of these tiles; patients are "" where unknown."""

    tiles: tuple[TileFindings, ...]
    tile_ids: tuple[str, ...]
    patients: tuple[str, ...]

    def nuclei(self, n_classes: int) -> Nuclei:
        """All matched nuclei."""
        return Nuclei.concatenated([tile.nuclei for tile in self.tiles], n_classes)

    def nuclei_by_unit(self, units: Sequence[str], n_classes: int) -> list[Nuclei]:
        """Matched nuclei of each unit, in the order of appearance; the unit of each tile is given."""
        of_unit: dict[str, list[Nuclei]] = {}
        for tile, unit in zip(self.tiles, units, strict=True):
            of_unit.setdefault(unit, []).append(tile.nuclei)
        return [Nuclei.concatenated(parts, n_classes) for parts in of_unit.values()]


def run(arguments: Arguments) -> None:
    """Write a calibration for each decoder, and the novelty model; each says why it is absent, if it is."""
    checkpoints, n_decoders = arguments.checkpoints, len(arguments.checkpoints)
    check_paired(tiles=arguments.tiles, features=arguments.features)
    check_paired(checkpoints=checkpoints, watersheds=arguments.watersheds, calibrations=arguments.calibrations)
    check_paired(members=arguments.members, tiles_of_decoders=arguments.tiles * n_decoders)
    tokens: dict[Role, dict[str, TileToken]] = {"train": {}, "validate": {}, "test": {}}
    encoder: dict[str, Any] = {}
    for place, output in enumerate(arguments.calibrations):
        decoder = _decoder(arguments, place)
        with open_family(arguments.members_of(place), arguments.tiles, arguments.features) as data:
            calibration = _calibration(arguments, decoder, data, _provenance(arguments, output, (place,)))
            encoder = encoder_record(data.features)
            for role, folds in arguments.folds.items():
                tokens[role] |= tokens_by_tile(data, data.rows_of_folds(folds))
        write_document(output, calibration)
        _log(calibration)
    _write_novelty(arguments, {role: joined(found) for role, found in tokens.items()}, encoder)


def _decoder(arguments: Arguments, place: int) -> Decoder:
    checkpoint, watershed = arguments.checkpoints[place], arguments.watersheds[place]
    family = read_header(checkpoint).family
    return read_decoder(checkpoint, watershed, split=arguments.split, family=family, test_folds=arguments.test_folds)


def _calibration(
    arguments: Arguments, decoder: Decoder, data: FamilyData, provenance: Provenance
) -> DecoderCalibration:
    """What is fitted on the validation folds, and how it holds on the test folds."""
    rows, tests = (data.rows_of_folds(folds) for folds in (arguments.validate_folds, arguments.test_folds))
    reason = decoder.header.reason or ("" if len(rows) else "no validation tiles")
    calibration = DecoderCalibration(
        provenance=provenance,
        split=arguments.split,
        family=decoder.header.family,
        status="absent" if reason else "fitted",
        reason=reason,
    )
    if reason:
        return calibration
    check_unseen(decoder.path, decoder.header.seen, data.tiles, tests)
    with workers(arguments.threads, len(rows) + len(tests)) as pool:
        validation, test = (_found(arguments, decoder, data, chosen, pool) for chosen in (rows, tests))
    return calibration.model_copy(update=_fitted(validation, test, data.tiles.dataset.class_names[1:]))


def _fitted(validation: _Found, test: _Found, class_names: Sequence[str]) -> dict[str, Any]:
    """Fields of a fitted calibration."""
    n_classes = len(class_names)
    by_patient = all(validation.patients + test.patients)
    names, test_names = (one.patients if by_patient else one.tile_ids for one in (validation, test))
    temperature, note = checked_temperature(validation.nuclei_by_unit(names, n_classes))
    units = unit_counts(validation.tiles, names, class_names)
    test_units = unit_counts(test.tiles, test_names, class_names)
    tested = test.nuclei(n_classes)
    return {
        "note": note,
        "temperature": temperature,
        "n_nuclei": len(validation.nuclei(n_classes).true_class),
        "before": reliability_of(tested, 1.0) if len(tested.true_class) else None,
        "after": reliability_of(tested, temperature) if len(tested.true_class) else None,
        "unit": "patient" if by_patient else "tile",
        "units": units,
        "counts": count_bounds(units, test_units, class_names),
    }


def _found(arguments: Arguments, decoder: Decoder, data: FamilyData, rows: RowNumbers, pool: Workers) -> _Found:
    """Findings on the tiles at `rows`, decoded as evaluations do."""
    names = {name: data.tiles.names(name, rows) for name in ("tile_id", "patient")}
    found: tuple[TileFindings, ...] = ()
    if len(rows):
        device = resolve_device(arguments.device)
        loaded = load_decoder(decoder.path, device, lanes=shared_out(device, arguments.threads))
        averages = decoder.choice.average_views
        maps = predict_maps(loaded, data.features, data.tiles, rows, average_views=averages)
        batches = reported(maps, f"decoded family={decoder.header.family}", len(rows))
        work = partial(findings_of, decoder.watershed, data.tiles.dataset.n_classes)
        found = tuple(pool.map(work, (tile for batch in batches for tile in _tile_maps(batch))))
    return _Found(found, names["tile_id"], names["patient"])


def _tile_maps(batch: MapBatch) -> Iterator[TileMaps]:
    truths = map(Segmentation, batch.tiles.instances, batch.tiles.classes)
    return map(TileMaps, truths, batch.np_prob, batch.hv, batch.nt_prob)


def _write_novelty(arguments: Arguments, tokens: Mapping[Role, Tokens], encoder: dict[str, Any]) -> None:
    reason = why_absent(tokens["train"], tokens["validate"])
    header = NoveltyHeader(
        provenance=_provenance(arguments, arguments.novelty, range(len(arguments.checkpoints))),
        split=arguments.split,
        status="absent" if reason else "fitted",
        reason=reason,
        encoder=encoder,
    )
    if reason:
        write_absent_novelty(arguments.novelty, header)
        log.warning("novelty split=%s absent: %s", arguments.split, reason)
        return
    novelty = with_threshold_of(fitted(header, tokens["train"]), tokens["validate"])
    novelty = with_shares(novelty, tokens)
    write_novelty(arguments.novelty, novelty)
    for share in novelty.header.shares:
        if not share.organ:
            line = "novelty split=%s threshold=%.4g role=%s tiles=%d unlike=%d"
            log.info(line, arguments.split, novelty.threshold, share.role, share.n, share.n_flagged)


def _provenance(arguments: Arguments, output: Path, places: Iterable[int]) -> Provenance:
    """Origin of what is made of the decoders at `places`."""
    inputs = [
        path
        for place in places
        for path in (*arguments.members_of(place), arguments.checkpoints[place], arguments.watersheds[place])
    ]
    folds = {f"{role}_folds": folds for role, folds in arguments.folds.items()}
    return provenance_of(output, inputs, {**arguments.settings.model_dump(mode="json"), **folds})


def _log(calibration: DecoderCalibration) -> None:
    where = f"calibration split={calibration.split} family={calibration.family}"
    if calibration.status == "absent":
        log.warning("%s absent: %s", where, calibration.reason)
        return
    if calibration.note:
        log.warning("%s %s", where, calibration.note)
    before, after = (math.nan if one is None else one.error for one in (calibration.before, calibration.after))
    line = "%s temperature=%.4g nuclei=%d ece_before=%.4f ece_after=%.4f units=%d (%s)"
    numbers = (calibration.temperature, calibration.n_nuclei, before, after, len(calibration.units), calibration.unit)
    log.info(line, where, *numbers)
