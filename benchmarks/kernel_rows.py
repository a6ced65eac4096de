"""What is timed: our functions beside those of others that do the same, with the check that they agree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import peers
import torch
from kernel_checks import (
    Check,
    explained_hv,
    other_definition,
    other_nuclei,
    same_labels,
    same_nuclei,
    same_numbers,
    same_pairs,
)
from kernel_tiles import Case

from cellvit.evaluation.scoring import Truth, score_segmentation
from cellvit.hover.decode import Method, segment
from cellvit.hover.encode import hv_maps
from cellvit.hover.table import nucleus_table
from cellvit.inference.predictions import Segmentation
from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.contingency import centroids_of, contingency_of, overlay
from cellvit.metrics.detection import RADIUS_PX, UNPAIRED, detection_counts, pair_centroids
from cellvit.metrics.overlap import aji_of, aji_plus_of, dice_of
from cellvit.metrics.pannuke import tile_scores

BATCH: Final = 8
"""Tiles of a batch where ours take several."""

HV: Final = "HV maps"
AJI: Final = "AJI"
AJI_PLUS: Final = "AJI+"
PQ: Final = "PQ"
DICE: Final = "Dice"
PANNUKE: Final = "bPQ and five class PQs"
NUCLEI: Final = "maps to nuclei"
TABLE: Final = "maps to nuclei with classes, centroids, contours"
DETECTION: Final = "detection from label maps"
PAIRS: Final = "detection from centroids"
ALL: Final = "bPQ, class PQs, AJI, AJI+, Dice, counts"
ALL_AND_DETECTION: Final = "the same and detection"


def as_they_are(cases: Sequence[Case]) -> Sequence[Case]:
    """The cases themselves."""
    return cases


class Contender(NamedTuple):
    """Something to time.

    Attributes:
        run: Does the work case by case and yields what comes out, which nobody has to keep.
        prepare: Brings the cases into the form that `run` takes; not timed.
    """

    name: str
    run: Callable[[Any], Iterator[Any]]
    prepare: Callable[[Sequence[Case]], Any] = as_they_are


class Rival(NamedTuple):
    """A peer's function for a task, with the check of our results against its."""

    task: str
    contender: Contender
    check: Check


class Task(NamedTuple):
    """One piece of work with everybody who does it."""

    name: str
    ours: tuple[Contender, ...]
    rivals: tuple[Rival, ...]


def tasks(checkouts: peers.Peers) -> list[Task]:
    """Everything that is timed, with the checkouts at hand."""
    rivals: list[Rival] = []
    if checkouts.hover_net:
        rivals += _of_hover_net(checkouts.hover_net)
    if checkouts.cellvit:
        rivals += _of_cellvit(checkouts.cellvit)
    if checkouts.pannuke_metrics:
        rivals += _of_pannuke_metrics(checkouts.pannuke_metrics)
    if checkouts.cellseg_models:
        rivals += _of_cellseg_models(checkouts.cellseg_models)
    return [Task(name, ours, tuple(rival for rival in rivals if rival.task == name)) for name, ours in _ours().items()]


def all_metrics(case: Case) -> list[float]:
    """Every overlap metric of a tile from one contingency table."""
    scores = tile_scores(case.true.instances, case.true.classes, case.found.instances, case.found.classes)
    table = scores.table
    return [aji_of(table), aji_plus_of(table), dice_of(table), scores.bpq, scores.mpq, *scores.pq]


def with_detection(case: Case) -> np.ndarray:
    """Everything that an evaluation measures on a tile: `all_metrics`, counts by class and detection by class."""
    truth = Truth("", "", case.true.instances, case.true.classes)
    values: np.ndarray = score_segmentation(truth, Segmentation(case.found.instances, case.found.classes))
    return values


def hv_of_batches(batches: Iterable[Any]) -> Iterator[Any]:
    """HV maps of every case of the batches, made a batch at a time."""
    for batch in batches:
        yield from np.asarray(hv_maps(batch))


def batches_of(cases: Sequence[Case]) -> list[np.ndarray]:
    """Instance maps of the cases, some to a batch."""
    return [
        np.stack([case.true.instances for case in cases[start : start + BATCH]])
        for start in range(0, len(cases), BATCH)
    ]


def _ours() -> dict[str, tuple[Contender, ...]]:
    """Our ways to do each task, in the order of the table."""
    return {
        HV: (
            Contender(f"`hv_maps`, numpy, batches of {BATCH}", hv_of_batches, batches_of),
            _each("`hv_maps`, numpy, one by one", lambda case: hv_maps(case.true.instances[None])[0]),
            Contender(f"`hv_maps`, torch on the CPU, batches of {BATCH}", hv_of_batches, _tensors_of),
        ),
        AJI: (_each_map("`aji`", aji),),
        AJI_PLUS: (_each_map("`aji_plus`", aji_plus),),
        PQ: (_each_map("`panoptic_quality`", lambda true, found: panoptic_quality(true, found).pq),),
        DICE: (_each_map("`dice`", dice),),
        PANNUKE: (_each("`tile_scores`", _pannuke),),
        NUCLEI: (_each("`segment`", lambda case: segment(case.np_prob, case.hv)),),
        **{
            f"{NUCLEI}, `{method}`": (_each(f'`segment(method="{method}")`', _segment_by(method)),)
            for method in _other_methods()
        },
        TABLE: (_each("`segment`, `nucleus_table`", _table),),
        DETECTION: (_each("`centroids_of`, `detection_counts`", _n_detected),),
        PAIRS: (_each("`pair_centroids`", lambda case: pair_centroids(case.true.at, case.found.at)),),
        ALL: (_each("`tile_scores` and the metrics of its table", all_metrics),),
        ALL_AND_DETECTION: (_each("`score_segmentation`", with_detection),),
    }


def _of_hover_net(net: peers.HoverNet) -> Iterator[Rival]:
    def named(name: str, act: Callable[[Case], Any]) -> Contender:
        return _each(f"{peers.HOVER_NET.name} `{name}`", act)

    def hv(case: Case) -> np.ndarray:
        return np.moveaxis(net.hv(case.true.instances, case.true.instances.shape), -1, 0)

    def n_detected(case: Case) -> int:
        pairs, _, _ = net.pair(net.centroids(case.true.instances), net.centroids(case.found.instances), RADIUS_PX)
        return len(pairs)

    def of(function: Callable[..., Any]) -> Callable[[Case], Any]:
        return lambda case: function(case.true.instances, case.found.instances)

    nuclei = named("__proc_np_hv", lambda case: net.watershed(case.branches[..., 1:]))
    yield Rival(HV, named("gen_instance_hv_map", hv), explained_hv(splits=True))
    yield Rival(AJI, named("get_fast_aji", of(net.aji)), same_numbers)
    yield Rival(AJI_PLUS, named("get_fast_aji_plus", of(net.aji_plus)), same_numbers)
    yield Rival(PQ, named("get_fast_pq", of(lambda true, found: net.pq(true, found)[0][2])), same_numbers)
    yield Rival(DICE, named("get_dice_1", of(net.dice)), same_numbers)
    yield Rival(NUCLEI, nuclei, same_labels)
    for method in _other_methods():
        yield Rival(f"{NUCLEI}, `{method}`", nuclei, other_nuclei("another algorithm"))
    yield Rival(TABLE, named("process", lambda case: net.process(case.branches, nr_types=6)), same_nuclei)
    yield Rival(DETECTION, named("get_inst_centroid`, `pair_coordinates", n_detected), same_numbers)


def _of_cellvit(vit: peers.CellViT) -> Iterator[Rival]:
    def named(name: str, act: Callable[[Case], Any]) -> Contender:
        return _each(f"{peers.CELLVIT.name} `{name}`", act)

    processor = vit.post_processor(nr_types=6)

    def nuclei(case: Case) -> Any:
        return processor.post_process_cell_segmentation(case.branches)

    def pairs(case: Case) -> Any:
        return vit.pair(case.true.at, case.found.at, RADIUS_PX)[0].T

    yield Rival(HV, named("gen_instance_hv_map", lambda case: vit.hv(case.true.instances)), explained_hv(splits=False))
    yield Rival(TABLE, named("post_process_cell_segmentation", nuclei), same_nuclei)
    yield Rival(PAIRS, named("pair_coordinates", pairs), same_pairs)


def _of_pannuke_metrics(metrics: peers.PanNukeMetrics) -> Iterator[Rival]:
    def quality(true: np.ndarray, found: np.ndarray) -> float:
        return metrics.pq(true, found)[0][2] if len(np.unique(true)) > 1 else float("nan")

    def channel(masks: np.ndarray, place: int) -> Any:
        return metrics.remap(masks[:, :, place].astype("int32"))

    def one_image(case: Case) -> list[float]:
        """What run.py does for each image."""
        true, found = case.true.masks, case.found.masks
        binary = quality(metrics.binarize(true), metrics.binarize(found))
        return [binary, *(quality(channel(true, place), channel(found, place)) for place in range(true.shape[2]))]

    yield Rival(PANNUKE, _each(f"{peers.PANNUKE_METRICS.name} `run.py`", one_image), same_numbers)


def _of_cellseg_models(seg: peers.CellsegModels) -> Iterator[Rival]:
    def named(name: str, act: Callable[[Case], Any]) -> Contender:
        return _each(f"{peers.CELLSEG_MODELS.name} `{name}`", act)

    def nuclei(case: Case) -> Any:
        return seg.post_process((case.np_prob >= 0.5).astype(np.int32), case.hv[::-1])

    yield Rival(HV, named("gen_hv_maps", lambda case: seg.hv(case.true.instances)[::-1]), explained_hv(splits=False))
    yield Rival(
        AJI,
        named("aggregated_jaccard_index", lambda case: seg.aji(case.true.instances, case.found.instances)),
        other_definition("pairs by overlap, not by IoU"),
    )
    yield Rival(
        PQ,
        named("panoptic_quality", lambda case: seg.pq(case.true.instances, case.found.instances)["pq"]),
        same_numbers,
    )
    why = "the peer drops pieces under 18 px"  # its scaling by percentiles is linear and changes nothing
    yield Rival(NUCLEI, named("post_proc_hovernet", nuclei), other_nuclei(why))


def _each(name: str, act: Callable[[Case], Any]) -> Contender:
    return Contender(name, lambda cases: map(act, cases))


def _each_map(name: str, metric: Callable[[Any, Any], float]) -> Contender:
    return _each(name, lambda case: metric(case.true.instances, case.found.instances))


def _tensors_of(cases: Sequence[Case]) -> list[torch.Tensor]:
    return [torch.from_numpy(batch) for batch in batches_of(cases)]


def _pannuke(case: Case) -> list[float]:
    scores = tile_scores(case.true.instances, case.true.classes, case.found.instances, case.found.classes)
    return [scores.bpq, *scores.pq]


def _other_methods() -> tuple[Method, ...]:
    return tuple(method for method in get_args(Method) if method != "hovernet")


def _segment_by(method: Method) -> Callable[[Case], Any]:
    return lambda case: segment(case.np_prob, case.hv, method=method)


def _table(case: Case) -> tuple[Any, ...]:
    labels = segment(case.np_prob, case.hv)
    table = nucleus_table(labels, case.nt_prob)
    return labels, table.classes, table.centroid


def _n_detected(case: Case) -> int:
    true, found = case.true, case.found
    laid = overlay(true.instances, found.instances)
    true_at, found_at = centroids_of(laid, contingency_of(laid))
    table = detection_counts(true_at, true.class_of, found_at, found.class_of)
    return int(table[:UNPAIRED, :UNPAIRED].sum())
