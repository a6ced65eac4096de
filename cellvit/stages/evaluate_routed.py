"""Stage `evaluate_routed`: the decoder of each organ, and all test tiles decoded by that of their predicted organ -> values."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from jaxtyping import Float64

from cellvit.config.steps import EvaluateRoutedSettings
from cellvit.evaluation.annotated import not_annotated
from cellvit.evaluation.decoder_choice import choose_decoders, with_test_differences
from cellvit.evaluation.routing import (
    Routes,
    in_organ_order,
    organ_confusion,
    organ_values,
    routes_of,
    routing_accuracy,
)
from cellvit.evaluation.scoring import columns_of
from cellvit.evaluation.system_scores import scores_of_maps
from cellvit.evaluation.systems import Decoder, check_belongs, read_decoder, read_unseen, shown, system_values
from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import check_table, sha256_of
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.evaluations import (
    FAMILIES,
    ORGAN_GIVEN,
    ORGAN_PREDICTED,
    DecoderChoice,
    FamilyEvaluation,
    RoutedEvaluation,
)
from cellvit.formats.seen import check_unseen
from cellvit.formats.tile_table import TileScores, read_tile_scores, write_tile_scores
from cellvit.formats.tiles import groups_of, open_tiles
from cellvit.inference.folds import FoldData, open_folds
from cellvit.inference.lanes import shared_out
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.organs import load_organ_head, predict_organs
from cellvit.inference.parallel import workers
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.taxonomy import SHARED_FAMILY
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, check_paired

log = logging.getLogger(__name__)

_CLS_BLOCK: Final = 512
"""CLS tokens per forward pass of OrganHead: 3 MB at 1536 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[EvaluateRoutedSettings, Setting("JSON: families, and how the decoder of an organ is chosen")]
    split: Annotated[str, Setting("name of the split")]
    test_folds: Annotated[tuple[int, ...], Setting("folds to evaluate on")]
    tiles: Annotated[tuple[Path, ...], Input("tile stores, one per test fold")]
    features: Annotated[tuple[Path, ...], Input("their feature stores")]
    organ_head: Annotated[Path, Input("checkpoint of OrganHead")]
    checkpoints: Annotated[tuple[Path, ...], Input("decoders, one per family, and that of all organs if there is one")]
    watersheds: Annotated[tuple[Path, ...], Input("their watershed parameters")]
    evaluations: Annotated[tuple[Path, ...], Input("their JSONs of evaluate_family")]
    tables: Annotated[tuple[Path, ...], Input("their CSVs of evaluate_family")]
    evaluation: Annotated[Path, Output("JSON to write: values")]
    table: Annotated[Path, Output("CSV to write: scores of every tile")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write values and scores; without OrganHead, decoders or tiles a document that says why there are none."""
    check_paired(test_folds=arguments.test_folds, tiles=arguments.tiles, features=arguments.features)
    organ_head = read_unseen(arguments.organ_head, split=arguments.split, family="", test_folds=arguments.test_folds)
    decoders = _decoders(arguments)
    tuned = {family: decoder.choice for family, decoder in decoders.items()}
    choices = choose_decoders(arguments.settings.families, tuned, arguments.settings.routing)
    scored = _of_families(arguments)
    with open_folds(arguments.tiles, arguments.features) as data:
        for decoder in decoders.values():  # a predicted organ may lead any tile to any of them
            check_unseen(decoder.path, decoder.header.seen, data.tiles, np.arange(len(data.tiles)))
        reason = f"no OrganHead: {organ_head.reason}" if organ_head.status == "absent" else ""
        reason = (
            reason or ("" if decoders else "no family has a decoder") or ("" if len(data.rows) else "no test tiles")
        )
        inputs = [*arguments.tiles, *arguments.features, arguments.organ_head, *arguments.checkpoints]
        inputs += [*arguments.watersheds, *arguments.evaluations]
        settings = {**arguments.settings.model_dump(mode="json"), "test_folds": arguments.test_folds}
        evaluation = RoutedEvaluation(
            provenance=provenance_of(arguments.evaluation, inputs, settings),
            split=arguments.split,
            status="absent" if reason else "evaluated",
            reason=reason,
            n_tiles=len(data.rows),
            decoders=with_test_differences(choices, scored.decoders),
        )
        scores: dict[str, TileScores] = {}
        if not reason:
            evaluation, scores = _evaluated(arguments, evaluation, decoders, data, scored)
    write_tile_scores(arguments.table, scores, columns_of(evaluation.dataset))
    tables = {"tiles": sha256_of(arguments.table)}
    write_document(arguments.evaluation, evaluation.model_copy(update={"tables": tables}))
    where = f"routed split={evaluation.split}"
    if reason:
        log.warning("%s absent: %s", where, reason)
        return
    for choice in evaluation.decoders:
        log.info("%s organ=%s decoder=%s chosen_by=%s", where, choice.organ, choice.decoder or "none", choice.chosen_by)
    for cause, count in evaluation.left_out.items():
        log.warning("%s left_out=%d: %s", where, count, cause)
    values = evaluation.systems[ORGAN_PREDICTED] | {"organ_accuracy": evaluation.organ_head["accuracy"]}
    log.info("%s tiles=%d %s", where, evaluation.n_tiles, shown(values, ("aji", "bpq", "mpq", "organ_accuracy")))


def _decoders(arguments: Arguments) -> dict[str, Decoder]:
    """The decoders by family; families that could not be trained are left out."""
    check_paired(checkpoints=arguments.checkpoints, watersheds=arguments.watersheds)
    decoders = {}
    for checkpoint, watershed in zip(arguments.checkpoints, arguments.watersheds, strict=True):
        family, folds = read_header(checkpoint).family, arguments.test_folds
        decoder = read_decoder(checkpoint, watershed, split=arguments.split, family=family, test_folds=folds)
        if decoder.header.status == "trained":
            decoders[family] = decoder
    return decoders


@dataclass(frozen=True, slots=True)
class _Scored:
    """What evaluate_family has scored.

    Attributes:
        decoders: Scores of each decoder on the test tiles of its own organs, by its family.
        others: Scores of the other systems, those of all families together, by system.
        columns: Names of the scores.
    """

    decoders: dict[str, TileScores]
    others: dict[str, TileScores]
    columns: tuple[str, ...]

    def by_decoder_of(self, decoder_of: Mapping[str, str]) -> TileScores:
        """Scores of every tile by the decoder of its true organ."""
        found = TileScores.none(self.columns)
        for family, scores in self.decoders.items():
            found += scores.where(np.array([decoder_of[organ] == family for organ in scores.text("organ")], bool))
        return found


def _of_families(arguments: Arguments) -> _Scored:
    """Scores of evaluate_family; of the shared decoder's evaluation those of the decoder alone."""
    check_paired(checkpoints=arguments.checkpoints, evaluations=arguments.evaluations, tables=arguments.tables)
    with open_tiles(arguments.tiles[0]) as tiles:
        columns = columns_of(tiles.dataset)
    found = _Scored({}, {}, columns)
    for path, table in zip(arguments.evaluations, arguments.tables, strict=True):
        evaluation = read_document(path, FamilyEvaluation)
        check_belongs(path, evaluation, arguments.split, evaluation.family)
        check_table(table, evaluation.tables, "tiles")
        systems = read_tile_scores(table, columns)
        if "decoder" in systems:
            found.decoders[evaluation.family] = systems.pop("decoder")
        if evaluation.family == SHARED_FAMILY:
            continue
        systems.pop("shared", None)  # the evaluation of the shared decoder has these, and those of absent families
        for system, scores in systems.items():
            found.others[system] = found.others.get(system, TileScores.none(columns)) + scores
    return found


def _systems(scored: _Scored, choices: Sequence[DecoderChoice], predicted: TileScores) -> dict[str, TileScores]:
    """Scores of all systems in the order in which they are shown."""
    scores = {
        ORGAN_PREDICTED: predicted,
        ORGAN_GIVEN: scored.by_decoder_of({choice.organ: choice.decoder for choice in choices}),
        FAMILIES: scored.by_decoder_of({choice.organ: choice.family for choice in choices}),
    }
    if SHARED_FAMILY in scored.decoders:
        scores["shared"] = scored.decoders[SHARED_FAMILY]
    scores |= scored.others
    return {system: tiles for system, tiles in scores.items() if len(tiles) or system == ORGAN_PREDICTED}


def _evaluated(  # five arguments: what is evaluated, and where its values go
    arguments: Arguments,
    evaluation: RoutedEvaluation,
    decoders: dict[str, Decoder],
    data: FoldData,
    scored: _Scored,
) -> tuple[RoutedEvaluation, dict[str, TileScores]]:
    probabilities, all_names = _probabilities(arguments, data), data.tiles.dataset.organs
    organs, groups = data.tiles.names("organ"), groups_of(data.tiles.names("patient"))
    decoder_of = {choice.organ: choice.decoder for choice in evaluation.decoders}
    routes = routes_of(probabilities, organs, decoder_of, names=all_names)
    own = _routed(arguments, decoders, data, routes, scored)
    scores = _systems(scored, evaluation.decoders, own)
    names, confusion = organ_confusion(probabilities, organs, names=all_names)
    organ_head = organ_values(probabilities, organs, names=all_names, groups=groups)
    organ_head["routing_accuracy"] = routing_accuracy(routes, groups=groups)
    fields = {
        "n_tiles": len(own),
        "n_patients": own.n_patients,
        "n_tiles_without_patient": own.n_tiles_without_patient,
        "not_annotated": not_annotated(own),
        "organ_head": organ_head,
        "organ_names": names,
        "confusion": confusion,
        "left_out": routes.left_out,
        **system_values(scores, ORGAN_PREDICTED)._asdict(),
    }
    return evaluation.model_copy(update=fields), scores


def _probabilities(arguments: Arguments, data: FoldData) -> Float64[np.ndarray, "n k"]:
    """Probability of every organ for every test tile."""
    device = resolve_device(arguments.device)
    shared_out(device, arguments.threads)
    head = load_organ_head(arguments.organ_head, device)
    blocks = [predict_organs(head, data.features, rows) for rows in data.features.blocks(_CLS_BLOCK)]
    return in_organ_order(np.concatenate(blocks), head.header.organs, names=data.tiles.dataset.organs)


def _routed(
    arguments: Arguments,
    decoders: dict[str, Decoder],
    data: FoldData,
    routes: Routes,
    scored: _Scored,
) -> TileScores:
    """Scores of every tile by the decoder that is chosen for it; evaluate_family has those of the decoder's own organs."""
    tile_ids = data.tiles.names("tile_id")
    chosen = dict(zip(tile_ids, routes.decoder, strict=True))
    scores = TileScores.none(scored.columns)
    for family, tiles in scored.decoders.items():
        scores += tiles.where(np.array([chosen.get(tile) == family for tile in tiles.text("tile_id")], bool))
    done, device = set(scores.text("tile_id")), resolve_device(arguments.device)
    lanes = shared_out(device, arguments.threads)
    with workers(arguments.threads, sum(map(bool, routes.decoder)) - len(done)) as pool:
        for family, decoder in decoders.items():
            rows = [row for row, tile in enumerate(tile_ids) if routes.decoder[row] == family and tile not in done]
            log.info("decoder=%s tiles=%d not_scored_yet=%d", family, routes.decoder.count(family), len(rows))
            if rows:
                loaded = load_decoder(decoder.path, device, lanes=lanes)
                averages = decoder.choice.average_views
                maps = predict_maps(loaded, data.features, data.tiles, np.array(rows), average_views=averages)
                maps = reported(maps, f"scored system={ORGAN_PREDICTED} decoder={family}", len(rows))
                data_set = data.tiles.dataset
                scores += scores_of_maps(maps, decoder.watershed, data_set, family=family, pool=pool)
    return scores
