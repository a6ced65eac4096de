"""Stage `evaluate_organ_head`: OrganHead on the test folds -> accuracy, calibration and confusion of organs."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.steps import EvaluateSettings
from cellvit.evaluation.routing import organ_confusion, organ_recall, organ_values
from cellvit.evaluation.systems import read_unseen, shown
from cellvit.formats.content import provenance_of
from cellvit.formats.documents import write_document
from cellvit.formats.evaluations import OrganHeadEvaluation
from cellvit.formats.tiles import groups_of, n_patients
from cellvit.inference.folds import FoldData, open_folds
from cellvit.inference.lanes import shared_out
from cellvit.inference.organs import load_organ_head, predict_organs
from cellvit.models.device import resolve_device
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[EvaluateSettings, Setting("JSON: settings of the evaluation")]
    split: Annotated[str, Setting("name of the split")]
    test_folds: Annotated[tuple[int, ...], Setting("folds to evaluate on")]
    organ_head: Annotated[Path, Input("checkpoint of OrganHead")]
    tiles: Annotated[tuple[Path, ...], Input("tile stores, one per test fold")]
    features: Annotated[tuple[Path, ...], Input("their feature stores")]
    checks: Annotated[tuple[Path, ...], Through("JSONs of check_features of these folds")] = ()
    evaluation: Annotated[Path, Output("JSON to write")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write the values; without OrganHead or test tiles a document that says why there are none."""
    check_paired(test_folds=arguments.test_folds, tiles=arguments.tiles, features=arguments.features)
    header = read_unseen(arguments.organ_head, split=arguments.split, family="", test_folds=arguments.test_folds)
    with open_folds(arguments.tiles, arguments.features) as data:
        reason = header.reason or ("" if len(data.rows) else f"no tiles in test folds {list(arguments.test_folds)}")
        evaluation = OrganHeadEvaluation(
            provenance=provenance_of(
                arguments.evaluation,
                [arguments.organ_head, *arguments.tiles, *arguments.features],
                {**arguments.settings.model_dump(mode="json"), "test_folds": arguments.test_folds},
            ),
            split=arguments.split,
            status="absent" if reason else "evaluated",
            reason=reason,
            n_tiles=len(data.rows),
        )
        if not reason:
            evaluation = _evaluated(arguments, data, evaluation)
    write_document(arguments.evaluation, evaluation)
    line = shown(evaluation.values, evaluation.values)
    log.info("organ head split=%s status=%s n=%d %s", arguments.split, evaluation.status, evaluation.n_tiles, line)


def _evaluated(arguments: Arguments, data: FoldData, evaluation: OrganHeadEvaluation) -> OrganHeadEvaluation:
    device = resolve_device(arguments.device)
    shared_out(device, arguments.threads)
    head = load_organ_head(arguments.organ_head, device)
    probabilities = predict_organs(head, data.features, data.rows)
    organs, patients = data.tiles.names("organ"), data.tiles.names("patient")
    unseen = Counter(organ for organ in organs if organ not in head.header.trained_organs)
    if unseen:
        log.warning("organs without training tiles cannot be predicted: %s", dict(unseen))
    all_names, groups = data.tiles.dataset.organs, groups_of(patients)
    names, confusion = organ_confusion(probabilities, organs, names=all_names)
    return evaluation.model_copy(
        update={
            "n_patients": n_patients(patients),
            "n_tiles_without_patient": patients.count(""),
            "values": organ_values(probabilities, organs, names=all_names, groups=groups),
            "recall": organ_recall(probabilities, organs, names=all_names, groups=groups),
            "organ_names": names,
            "confusion": confusion,
            "temperature": float(head.module.temperature),
            "unseen": dict(sorted(unseen.items())),
        }
    )
