"""Small documents of a run with one evaluated family, one family without training tiles, and the shared decoder."""

import numpy as np
import pandas as pd

from cellvit.config.settings import load_settings
from cellvit.evaluation.images import class_map_png, class_palette, tile_jpeg
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.calibration import CountBound, DecoderCalibration, Reliability, ReliabilityBin
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import Check, Value
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.features import FeatureCheck
from cellvit.formats.gallery import Contours, Gallery, GalleryTile, Picture
from cellvit.formats.history import HOVERNET_HISTORY
from cellvit.formats.novelty import FlaggedShare, NoveltyHeader
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryRow
from cellvit.formats.tile_table import TEXTS, TileScores
from cellvit.formats.tiles import FoldsCheck, FoldSummary, TargetCheck
from cellvit.formats.timing import Machine, Timing
from cellvit.formats.watershed import TriedPoint, WatershedChoice

NAN = float("nan")
REASON = "no tiles of Skin in training fold 1"
PROVENANCE = Provenance(
    data_set=PANNUKE, made_from={"../../tiles/fold1.h5": "ab" * 32}, simulated=True, encoder_mark="untrained encoder"
)
FAMILIES = ("digestive", "epidermal", "all")

SETTINGS = load_settings(
    {
        "data": {"root": None, "simulated": {"tiles_per_fold": 4}},
        "families": {"digestive": ["Colon"], "epidermal": ["Skin"]},
        "splits": {str(number): {"train": number, "validate": 3 - number, "test": 3} for number in (1, 2)},
        "encoder": {"preset": "tiny-vit", "weights": "random"},
    }
)


def values(**centers: float) -> dict[str, Value]:
    """Values by metric, with an interval around each; a NaN is undefined."""
    return {
        name: Value(value=center, low=center - 0.05, high=center + 0.05, n=0 if np.isnan(center) else 3, units=3)
        for name, center in centers.items()
    }


def header(family: str, *, trained: bool = True, split: str = "1") -> CheckpointHeader:
    of = {"provenance": PROVENANCE, "kind": "hovernet", "split": split, "family": family, "mpp": 0.25}
    if not trained:
        return CheckpointHeader(**of, status="absent", reason=REASON)
    folds = {"train": (1,), "validate": (2,)}
    return CheckpointHeader(**of, status="trained", folds=folds, step=400, selection="greatest bPQ", code="c0de")


def history(*, trained: bool = True) -> pd.DataFrame:
    """A row for every hundred steps, with falling values; no row where nothing was trained."""
    table = pd.DataFrame({name: np.linspace(1.0, 0.5, 6) for name in HOVERNET_HISTORY.columns})
    table["step"] = range(100, 700, 100)
    table["validate_bpq"] = [NAN, 0.2, NAN, 0.4, NAN, 0.3]
    return table if trained else table.iloc[:0]


def evaluation(family: str, *, evaluated: bool = True, split: str = "1") -> FamilyEvaluation:
    of = {"provenance": PROVENANCE, "split": split, "family": family}
    if not evaluated:
        return FamilyEvaluation(**of, status="absent", reason=REASON, n_tiles=0)
    systems = {
        "decoder": values(aji=0.6, bpq=0.5, mpq=0.4, pq_neoplastic=0.7, np_dice=0.8, f1_dead=NAN, pq_dead=NAN),
        "classical": values(aji=0.3, bpq=0.2),
        "upper_bound": values(aji=0.9, bpq=0.95),
        "trivial": values(np_dice=0.3),
    }
    return FamilyEvaluation(
        **of,
        status="evaluated",
        n_tiles=3,
        n_nuclei=15,
        systems=systems,
        organs={"Colon": {"decoder": values(aji=0.61), "classical": values(aji=0.31)}},
        train=values(np_dice=0.82),
        gaps=values(np_dice=0.024),
        differences=values(aji_minus_classical=0.3, bpq_minus_classical=0.01),
    )


def watershed(family: str) -> WatershedChoice:
    parameters = {"np_threshold": 0.5, "sobel_px": 21}
    points = ((parameters, 0.55), (parameters | {"np_threshold": 0.4}, 0.52))
    tried = tuple(TriedPoint(method="hovernet", parameters=of, value=values(bpq=bpq)["bpq"]) for of, bpq in points)
    of = {"provenance": PROVENANCE, "split": "1", "family": family, "status": "tuned", "method": "hovernet"}
    classical = {"classical": {"otsu_factor": 0.9}, "classical_value": values(bpq=0.31)["bpq"]}
    return WatershedChoice(**of, select_by="bpq", parameters=parameters, tried=tried, **classical)


def reliability(error: float) -> Reliability:
    bins = [ReliabilityBin(n=0, mean_probability=NAN, accuracy=NAN)] * 5
    bins += [ReliabilityBin(n=50, mean_probability=p, accuracy=p - error) for p in (0.55, 0.65, 0.75, 0.85, 0.95)]
    return Reliability(bins=tuple(bins), error=error, n=250)


def calibration(family: str, **fields) -> DecoderCalibration:
    given = {
        "status": "fitted",
        "temperature": 1.8,
        "n_nuclei": 1234,
        "before": reliability(0.2),
        "after": reliability(0.03),
        "unit": "patient",
        "counts": (
            CountBound(class_name="all", share=0.25, n_units=20, test_covered=9, test_n=10),
            CountBound(class_name="Dead", share=2.0, n_units=20, test_covered=2, test_n=10),
        ),
    }
    return DecoderCalibration(provenance=PROVENANCE, split="1", family=family, **given | fields)


def absent_calibration(family: str) -> DecoderCalibration:
    return DecoderCalibration(
        provenance=PROVENANCE, split="1", family=family, status="absent", reason="no validation tiles"
    )


def novelty(**fields) -> NoveltyHeader:
    shares = (
        FlaggedShare(role="train", n=200, n_flagged=0),
        FlaggedShare(role="test", n=400, n_flagged=30),
        FlaggedShare(role="test", organ="Bile-duct", n=100, n_flagged=30),
    )
    given = {"status": "fitted", "threshold": 1.5, "shares": shares}
    return NoveltyHeader(provenance=PROVENANCE, split="1", **given | fields)


RANKS = ("best", "median", "worst", "random")


def gallery(family: str, *, split: str = "1", tiles_per_rank: int = 2) -> Gallery:
    """Tiles that are named by their rank and their place in it."""
    places = [(rank, place) for rank in RANKS for place in range(tiles_per_rank)]
    tiles = tuple(_gallery_tile(rank, f"{rank}-{place}") for rank, place in places)
    note = "" if tiles else "No test tile of this family has a nucleus."
    return Gallery(provenance=PROVENANCE, split=split, family=family, tiles=tiles, note=note)


def _gallery_tile(rank: str, tile_id: str) -> GalleryTile:
    """A tile with five true nuclei, of which two are matched, and with one false nucleus."""
    boxes = {"matched": (1, 40, 40), "other_class": (2, 110, 60), "missed": (4, 180, 150), "false": (5, 60, 190)}
    truth = [_square(name, boxes[name], n) for name, n in (("matched", 1), ("other_class", 1), ("missed", 3))]
    predicted = [_square(name, boxes[name], 1) for name in ("matched", "other_class", "false")]
    image = np.full((256, 256, 3), (236, 198, 222), np.uint8)
    for _, x, y in boxes.values():
        image[y : y + 40, x : x + 40] = (110, 62, 150)
    pictures = [Picture(uri=_PIXEL, caption=text, alt=text, side_px=256) for text in ("NP", "HV", "HV", "NT")]
    return GalleryTile(
        tile_id=tile_id,
        organ="Colon",
        rank=rank,
        aji={"decoder": 0.6, "classical": NAN},
        image=Picture(uri=tile_jpeg(image), caption="Tile", alt=f"H&E tile {tile_id}", side_px=256),
        truth=tuple(truth),
        predicted=tuple(predicted),
        maps=tuple(pictures),
    )


def _square(outcome: str, box: tuple[int, int, int], n_nuclei: int) -> Contours:
    number, x, y = box
    path = f"M{x} {y}l39 0 0 39 -39 0z"
    return Contours(class_number=number, outcome=outcome, n_nuclei=n_nuclei, path=path)


_PIXEL = class_map_png(np.zeros((4, 4), np.uint8), class_palette(PANNUKE))


def scores(family: str, *, n_tiles: int = 3) -> TileScores:
    """Tiles with one neoplastic nucleus more than true ones in each, and nothing else."""
    texts = dict.fromkeys(TEXTS, ("",) * n_tiles)
    tile_ids = tuple(f"f3-{row:05d}" for row in range(n_tiles))
    texts |= {"tile_id": tile_ids, "organ": ("Colon",) * n_tiles, "family": (family,) * n_tiles}
    table = pd.DataFrame(0.0, index=range(n_tiles), columns=list(COLUMNS))
    table["n_true"] = table["tp_neoplastic"] = table["near_pairs_1_1"] = np.arange(n_tiles) + 4.0
    table["n_predicted"] = table["n_true"] + 1
    table["fp_neoplastic"] = table["near_pairs_6_1"] = 1.0
    return TileScores.of(texts, COLUMNS, table.to_numpy())


_OF_SPLIT = {"provenance": PROVENANCE, "split": "1", "status": "evaluated", "n_tiles": 3}
_CONFUSION = {"organ_names": ("Colon", "Skin", "Liver"), "confusion": ((2, 1, 0), (0, 0, 0), (0, 0, 0))}
_ORGAN_VALUES = {"accuracy": values(accuracy=0.9)["accuracy"], "calibration_error": Value(value=0.04, n=3)}

ORGAN_HEAD = OrganHeadEvaluation(**_OF_SPLIT, **_CONFUSION, values=_ORGAN_VALUES)

ROUTED = RoutedEvaluation(
    **_OF_SPLIT,
    **_CONFUSION,
    systems={"organ_predicted": values(aji=0.55), "organ_given": values(aji=0.6)},
    organ_head=_ORGAN_VALUES,
    left_out={"epidermal has no decoder": 2},
)

_OF_FOLD = {"provenance": PROVENANCE, "fold": 1, "n_tiles": 4, "tiles_by_organ": {"Colon": 4}, "coverage": 0.15}
_NUCLEI = {"nuclei_by_class": {"Neoplastic": 20}}
_DROPPED = {"overlap_px": 7, "nuclei_painted_over": 1, "background_mismatch_px": 0}

TARGET_CHECK = TargetCheck(
    **_OF_FOLD,
    **_NUCLEI,
    n_nuclei=20,
    hv_length=0.66,
    upper_bound={"hovernet": values(aji=0.91), "hv_flow": values(aji=0.98)},
    upper_bound_aji_by_organ=values(Colon=0.97),
    checks=(),
)

FOLDS_CHECK = FoldsCheck(
    provenance=PROVENANCE, n_tiles=4, compared=((1, 2),), warnings=("similar_images: 1 image looks like a copy.",)
)

FOLD_SUMMARY = FoldSummary(**_OF_FOLD, **_NUCLEI, **_DROPPED, empty_tiles=("f1-00003",))

FEATURE_CHECK = FeatureCheck(
    provenance=PROVENANCE,
    fold_id="fold1",
    n_tiles=4,
    cls_std=0.98,
    checks=(Check(name="finite", expected="all", found="all"),),
)

SUMMARY = (
    SummaryRow("1", "digestive", "aji", 0.4, 0.35, 0.45, NAN, NAN, 3, 3, "partial"),
    SummaryRow("1", "digestive", "aji.classical", 0.3, 0.25, 0.35, NAN, NAN, 3, 3),
    SummaryRow("1", "digestive", "np_dice", 0.1, 0.05, 0.15, NAN, NAN, 3, 3, "fail"),
    SummaryRow("1", "epidermal", "aji", NAN, NAN, NAN, NAN, NAN, 0, 0, "undefined"),
)

_MACHINE = Machine(commit="c0ffee" * 6, gpu="NVIDIA H200", driver="570.86", software={"torch": "2.9.1"})
TIMINGS = (
    Timing(
        step="train_hovernet",
        job="split1_digestive",
        seconds=60.0,
        memory_mb=2048.0,
        gpu_mb=9216.0,
        machine=_MACHINE,
    ),
    Timing(step="train_hovernet", job="split1_epidermal", seconds=15.0, memory_mb=1024.0),
    Timing(step="summarize", job="summary", seconds=1.2, memory_mb=512.0),
)
