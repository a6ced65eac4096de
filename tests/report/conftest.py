"""Small documents of a run with one evaluated family, one without tiles, and the control."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from cellvit.config.settings import Settings, load_settings
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.documents import Check, Value
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.features import FeatureCheck
from cellvit.formats.history import HOVERNET_HISTORY
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryRow
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import FoldSummary, TargetCheck
from cellvit.formats.watershed import GridPoint, WatershedChoice
from cellvit.report.findings import Decoder, Findings, pair_decoders
from cellvit.workflow.timing_records import JobTiming

NAN = float("nan")
REASON = "no tiles of Skin in training fold 1"
COLUMNS = ("n_true", "aji")
ORIGIN = Provenance(made_from={"features": "ab" * 32}, simulated=True, untrained_encoder=True)


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load_settings(
        {
            "data": {"root": None, "simulated": {"tiles_per_fold": 4}},
            "families": {"digestive": ["Colon"], "epidermal": ["Skin"]},
            "splits": {"1": {"train": 1, "validate": 2, "test": 3}},
            "encoder": {"preset": "tiny-vit", "weights": "random"},
        }
    )


@pytest.fixture(scope="session")
def judged() -> Callable[..., TileScores]:
    """Tiles with an AJI and a number of nuclei each."""

    def make(aji: Sequence[float], n_true: Sequence[int] | None = None, family: str = "digestive") -> TileScores:
        n = len(aji)
        values = np.column_stack([[5] * n if n_true is None else n_true, [4] * n, aji]).astype(np.float64)
        names = tuple(f"f3-{row:05d}" for row in range(n))
        return TileScores(names, ("Colon",) * n, ("",) * n, (family,) * n, ("n_true", "n_found", "aji"), values)

    return make


@pytest.fixture(scope="session")
def history() -> pd.DataFrame:
    table = pd.DataFrame({name: np.linspace(1.0, 0.5, 6) for name in HOVERNET_HISTORY.columns})
    table["epoch"] = range(1, 7)
    table["chosen"] = [0, 0, 0, 1, 0, 0]
    table["validate_bpq"] = [NAN, 0.2, NAN, 0.4, NAN, 0.3]
    return table


def header(family: str, *, status: str = "trained") -> CheckpointHeader:
    trained = status == "trained"
    return CheckpointHeader(
        provenance=ORIGIN,
        kind="hovernet",
        split="1",
        family=family,
        status=status,
        reason="" if trained else REASON,
        mpp=0.25,
        folds={"train": (1,), "validate": (2,)},
        tiles={"train": 4, "validate": 4},
        epoch=4 if trained else 0,
        selection="greatest bPQ",
        code="c0de",
    )


def evaluation(family: str, *, status: str = "evaluated") -> FamilyEvaluation:
    head = {"provenance": ORIGIN, "split": "1", "family": family, "status": status}
    if status == "absent":
        return FamilyEvaluation(**head, reason=REASON, n_tiles=0)
    decoder = {"aji": 0.6, "bpq": 0.5, "mpq": 0.4, "pq_neoplastic": 0.7, "np_dice": 0.8, "f1_neoplastic": 0.75}
    others = {"classical": {"aji": 0.3, "bpq": 0.2}, "oracle": {"aji": 0.9, "bpq": 0.95}, "trivial": {"np_dice": 0.3}}
    systems = {"decoder": decoder, **others}
    figures = {system: {name: figure(value) for name, value in found.items()} for system, found in systems.items()}
    figures["decoder"] |= {"pq_dead": Value(value=NAN, n=0), "f1_dead": Value(value=NAN, n=0)}
    return FamilyEvaluation(
        **head,
        n_tiles=3,
        n_nuclei=15,
        systems=figures,
        organs={"Colon": {"decoder": {"aji": figure(0.61)}, "classical": {"aji": figure(0.31)}}},
        train={"np_dice": figure(0.82)},
        gaps={"np_dice": figure(0.024)},
        differences={"aji_minus_classical": figure(0.3), "bpq_minus_classical": figure(0.01)},
    )


def figure(value: float) -> Value:
    return Value(value=value, low=value - 0.05, high=value + 0.05, n=3)


def watershed(family: str) -> WatershedChoice:
    grid = tuple(
        GridPoint(method="hovernet", parameters={"np_threshold": threshold, "sobel_px": 21}, aji=figure(aji))
        for threshold, aji in ((0.5, 0.55), (0.4, 0.52))
    )
    return WatershedChoice(
        provenance=ORIGIN,
        split="1",
        family=family,
        status="tuned",
        method="hovernet",
        parameters={"np_threshold": 0.5, "sobel_px": 21},
        grid=grid,
        warnings=("np_threshold: best value 0.5 is the last of its list",),
    )


@pytest.fixture(scope="session")
def decoders(settings: Settings, history: pd.DataFrame, judged: Callable[..., TileScores]) -> tuple[Decoder, ...]:
    tiles = {"decoder": judged([0.2, 0.6, 0.9]), "classical": judged([0.1, 0.3, NAN])}
    control = {"decoder": judged([0.2, 0.6, 0.9], family="all")}
    nothing = pd.DataFrame(columns=["epoch", "chosen"])
    return pair_decoders(
        settings,
        [(header("all"), history), (header("epidermal", status="absent"), nothing), (header("digestive"), history)],
        [watershed("digestive"), watershed("all")],
        [
            (evaluation("digestive"), tiles),
            (evaluation("epidermal", status="absent"), {}),
            (evaluation("all"), control),
        ],
    )


@pytest.fixture(scope="session")
def findings(settings: Settings, decoders: tuple[Decoder, ...]) -> Findings:
    return Findings(
        settings=settings,
        summary=(
            SummaryRow("1", "digestive", "aji", 0.4, 0.35, 0.45, 3, "partial"),
            SummaryRow("1", "digestive", "aji.classical", 0.3, 0.25, 0.35, 3),
            SummaryRow("1", "digestive", "hv_length", 0.1, 0.05, 0.15, 3, "fail"),
            SummaryRow("1", "epidermal", "aji", NAN, NAN, NAN, 0, "undefined"),
        ),
        decoders=decoders,
        routed=(ROUTED,),
        organ_heads=(ORGAN_HEAD,),
        target_checks=(TARGET_CHECK,),
        feature_checks=(FEATURE_CHECK,),
        fold_summaries=(FOLD_SUMMARY,),
        timings=(
            JobTiming("train_hovernet", "split1_digestive", 60.0, memory_mb=2048.0, gpu_mb=9216.0),
            JobTiming("train_hovernet", "split1_epidermal", 15.0, memory_mb=NAN, gpu_mb=NAN),
            JobTiming("summarize", "summary", 1.2, memory_mb=NAN, gpu_mb=NAN),
        ),
    )


CONFUSION = {"organ_names": ("Colon", "Skin", "Liver"), "confusion": ((2, 1, 0), (0, 0, 0), (0, 0, 0))}
ORGAN_FIGURES = {"accuracy": figure(0.9), "calibration_error": Value(value=0.04, n=3)}

ORGAN_HEAD = OrganHeadEvaluation(
    provenance=ORIGIN, split="1", status="evaluated", n_tiles=3, figures=ORGAN_FIGURES, **CONFUSION
)

ROUTED = RoutedEvaluation(
    provenance=ORIGIN,
    split="1",
    status="evaluated",
    n_tiles=3,
    systems={"routed": {"aji": figure(0.55)}, "known": {"aji": figure(0.6)}},
    organ_head=ORGAN_FIGURES,
    left_out={"epidermal has no decoder": 2},
    **CONFUSION,
)

TARGET_CHECK = TargetCheck(
    provenance=ORIGIN,
    family="digestive",
    n_tiles=12,
    n_nuclei=60,
    tiles_by_fold={},
    tiles_by_organ={},
    nuclei_by_class={},
    coverage=0.15,
    hv_magnitude=0.66,
    oracle={"hovernet": {"aji": figure(0.91)}, "hv_flow": {"aji": figure(0.98)}},
    checks=(),
)

FEATURE_CHECK = FeatureCheck(
    provenance=ORIGIN,
    fold_id="fold1",
    n_tiles=4,
    cls_std=0.98,
    checks=(Check(name="finite", expected="all", found="all"),),
)

FOLD_SUMMARY = FoldSummary(
    provenance=ORIGIN,
    fold=1,
    n_tiles=4,
    tiles_by_organ={"Colon": 4},
    nuclei_by_class={"Neoplastic": 20},
    coverage=0.15,
    empty_tiles=("f1-00003",),
    overlap_px=7,
    nuclei_painted_over=1,
    background_mismatch_px=0,
)
