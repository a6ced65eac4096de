"""Files of a small run up to its bundle: headers and documents as the steps write them, with small arrays as weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cellvit.config.steps import GatherBundleSettings
from cellvit.formats.calibration import CountBound, DecoderCalibration, Reliability
from cellvit.formats.checkpoints import CheckpointHeader, read_header, write_checkpoint
from cellvit.formats.content import provenance_of
from cellvit.formats.dataset import PANNUKE, DataSet
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.evaluations import DecoderChoice, RoutedEvaluation
from cellvit.formats.features import WEIGHTS, FeatureCheck
from cellvit.formats.novelty import FlaggedShare, Novelty, NoveltyHeader, write_novelty
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryOrigin, SummaryRow, write_summary
from cellvit.formats.watershed import WatershedChoice
from cellvit.stages import gather_bundle

ENCODER: Final[dict[str, Any]] = {
    "encoder": {"preset": "h-optimus-0", "weights": "published", "seed": 0, "custom": None},
    "features": {"input_px": 224, "blocks": None, "precision": "auto", "batch_size": "auto", "views": ["identity"]},
}
WEIGHTS_SHA256: Final = "ab" * 32
FAMILIES: Final[dict[str, tuple[str, ...] | None]] = {
    "digestive": ("Colon", "Stomach"),
    "epidermal": ("Skin",),
    "all": ("Colon", "Skin", "Stomach"),
}
"""epidermal has no training tiles."""

NAN: Final = float("nan")


def write_parts(  # what tests vary
    root: Path,
    *,
    split: str = "1",
    families: Mapping[str, tuple[str, ...] | None] = FAMILIES,
    absent: Sequence[str] = ("epidermal",),
    data_set: DataSet = PANNUKE,
    encoder: Mapping[str, Any] = ENCODER,
    licence: str = "",
    simulated: bool = False,
    encoder_mark: str = "",
) -> gather_bundle.Arguments:
    """Write the inputs of `gather_bundle` for one split (or for the final models), and give its arguments."""
    folder = "final" if split == "final" else f"split{split}"
    origin = Provenance(data_set=data_set, simulated=simulated, encoder_mark=encoder_mark)
    common: dict[str, Any] = {"split": split, "mpp": data_set.mpp, "encoder": dict(encoder), "provenance": origin}
    common |= {"folds": {"train": (1, 2, 3), "validate": ()} if split == "final" else {"train": (1,), "validate": (2,)}}
    common |= {"final": split == "final", "licence": licence or data_set.licence_of_weights}
    checkpoints, watersheds, calibrations = [], [], []
    for number, family in enumerate(families):
        checkpoint = root / f"checkpoints/{folder}/hovernet_{family}.safetensors"
        fields = common | {"kind": "hovernet", "family": family, "classes": data_set.class_names}
        fields |= {"status": "trained", "tiles": {"train": 10 * (number + 1), "validate": 5}, "step": 40}
        if family in absent:
            fields |= {"status": "absent", "reason": f"family {family} has no tiles in training folds 1"}
        write_checkpoint(checkpoint, CheckpointHeader(**fields), {"stem.weight": np.full((2, 2), number, np.float32)})
        checkpoints.append(checkpoint)
        watersheds.append(_watershed(root / f"watershed/{folder}/{family}.json", checkpoint))
        calibrations.append(_calibration(root / f"calibration/{folder}/{family}.json", checkpoint))
    organ_head = None
    if len(families) > 1:
        organ_head = root / f"checkpoints/{folder}/organ_head.safetensors"
        head = CheckpointHeader(**common, kind="organ_head", status="trained", organs=data_set.organs)
        write_checkpoint(organ_head, head, {"temperature": np.ones(1, np.float32)})
    summary, summary_origin = _summary(root, origin, families)
    return gather_bundle.Arguments(
        settings=GatherBundleSettings(decoders=dict(families)),
        split=split,
        checkpoints=tuple(checkpoints),
        watersheds=tuple(watersheds),
        calibrations=tuple(calibrations),
        novelty=_novelty(root / f"calibration/{folder}/novelty.safetensors", split, origin, encoder),
        organ_head=organ_head,
        routed=(_routed(root / f"evaluation/{folder}/routed.json", split, origin, families),) if organ_head else (),
        feature_checks=tuple(_feature_check(root, fold, origin) for fold in (1, 2)),
        summary=summary,
        summary_origin=summary_origin,
        bundle=root / f"bundles/{folder}/bundle.json",
    )


def small_bundle(root: Path, **given: Any) -> Path:
    """Folder of a bundle that `gather_bundle` made; options are those of `write_parts`."""
    arguments = write_parts(root, **given)
    gather_bundle.run(arguments)
    return arguments.bundle.parent


def _watershed(path: Path, checkpoint: Path) -> Path:
    header = read_header(checkpoint)
    choice = WatershedChoice(
        provenance=provenance_of(path, [checkpoint], {}),
        split=header.split,
        family=header.family,
        status="absent" if header.status == "absent" else "tuned",
        method="hovernet",
        parameters={"np_threshold": 0.5, "hv_threshold": 0.4, "min_object_px": 10},
    )
    write_document(path, choice)
    return path


def _calibration(path: Path, checkpoint: Path) -> Path:
    header = read_header(checkpoint)
    fitted = header.status == "trained"
    calibration = DecoderCalibration(
        provenance=provenance_of(path, [checkpoint], {}),
        split=header.split,
        family=header.family,
        status="fitted" if fitted else "absent",
        reason=header.reason,
        temperature=1.5,
        n_nuclei=200,
        before=Reliability(bins=(), error=0.08, n=150) if fitted else None,
        after=Reliability(bins=(), error=0.03, n=150) if fitted else None,
        counts=(CountBound(class_name="all", share=0.2, n_units=20, test_covered=18, test_n=20),) if fitted else (),
    )
    write_document(path, calibration)
    return path


def _novelty(path: Path, split: str, origin: Provenance, encoder: Mapping[str, Any]) -> Path:
    header = NoveltyHeader(provenance=origin, split=split, status="fitted", encoder=dict(encoder), threshold=1.5)
    header = header.model_copy(update={"shares": (FlaggedShare(role="test", n=40, n_flagged=3),)})
    write_novelty(path, Novelty(header, np.zeros(3, np.float32), np.eye(3, dtype=np.float32)))
    return path


def _routed(path: Path, split: str, origin: Provenance, families: Mapping[str, tuple[str, ...] | None]) -> Path:
    """Colon goes to its family, every other organ to the shared decoder."""
    choices = tuple(
        DecoderChoice(organ=organ, family=family, decoder=family if organ == "Colon" else "all", chosen_by="organ")
        for family, organs in families.items()
        if family != "all"
        for organ in organs or ()
    )
    document = RoutedEvaluation(provenance=origin, split=split, status="evaluated", n_tiles=3, decoders=choices)
    write_document(path, document)
    return path


def _feature_check(root: Path, fold: int, origin: Provenance) -> Path:
    path = root / f"features/fold{fold}_check.json"
    made_from = origin.model_copy(update={"made_from": {WEIGHTS: WEIGHTS_SHA256}})
    write_document(path, FeatureCheck(provenance=made_from, fold_id=f"fold{fold}", n_tiles=3, cls_std=0.8, checks=()))
    return path


def _summary(root: Path, origin: Provenance, families: Mapping[str, Any]) -> tuple[Path, Path]:
    values = {"bpq": 0.612, "mpq": 0.456, "aji": 0.587, "hv_skill": 0.5}
    rows = [
        SummaryRow("1", family, metric, value, value - 0.02, value + 0.03, NAN, NAN, 33, 12)
        for family in families
        for metric, value in values.items()
    ]
    if len(families) > 1:
        rows.append(SummaryRow("1", "organ_head", "organ_accuracy", 0.91, 0.85, 0.95, NAN, NAN, 40, 12))
    rows.append(SummaryRow("mean", "all", "bpq", 0.6, NAN, NAN, 0.58, 0.62, 3, 0))
    write_summary(root / "summary.csv", rows)
    origin_path = root / "summary.json"
    tables = {"summary.csv": sha256_of(root / "summary.csv")}
    write_document(origin_path, SummaryOrigin(provenance=origin, tables=tables))
    return root / "summary.csv", origin_path
