"""What is timed: our functions beside those of other projects that compute the same, with the check that they agree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import peers
import torch
from kernel_checks import Check, explained_hv, other_definition, other_nuclei, same_labels, same_numbers, same_pairs
from kernel_tiles import Case

from cellvit.evaluation.scoring import score_segmentation
from cellvit.formats import dataset
from cellvit.hover.decode import Method, segment
from cellvit.hover.encode import hv_maps
from cellvit.inference.predictions import Segmentation
from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.contingency import centroids_of, contingency_of, overlay
from cellvit.metrics.detection import RADIUS_PX, UNPAIRED, detection_counts, pair_centroids
from cellvit.metrics.overlap import aji_of, aji_plus_of, dice_of
from cellvit.metrics.pannuke import tile_scores

BATCH: Final = 8
"""Tiles per call where our functions take several."""

HV: Final = "HV maps"
AJI: Final = "AJI"
AJI_PLUS: Final = "AJI+"
PQ: Final = "PQ"
DICE: Final = "Dice"
PANNUKE: Final = "bPQ and five class PQs"
NUCLEI: Final = "maps to nuclei"
DETECTION: Final = "detection from label maps"
PAIRS: Final = "detection from centroids"
ALL: Final = "bPQ, class PQs, AJI, AJI+, Dice, counts"
ALL_AND_DETECTION: Final = "the same and detection"

OTHER_METHODS: Final[tuple[Method, ...]] = tuple(method for method in get_args(Method) if method != "hovernet")
"""Our decoding methods that no other project has."""


class Candidate(NamedTuple):
    """A function to time.

    Attributes:
        run: Yields the result of each case; the caller need not store them.
        prepare: Brings the cases into the form that `run` takes; its time is not measured.
    """

    name: str
    run: Callable[[Any], Iterator[Any]]
    prepare: Callable[[Sequence[Case]], Any] = list


class Peer(NamedTuple):
    """A function of another project for a task, and the check of our results against its results."""

    task: str
    candidate: Candidate
    check: Check


class Task(NamedTuple):
    """A computation, with every function that does it."""

    name: str
    ours: tuple[Candidate, ...]
    peers: tuple[Peer, ...]


def tasks(checkouts: peers.Peers) -> list[Task]:
    """Everything that is timed, with the projects whose checkouts are given."""
    found: list[Peer] = []
    if checkouts.hover_net:
        found += _of_hover_net(checkouts.hover_net)
    if checkouts.cellvit:
        found += _of_cellvit(checkouts.cellvit)
    if checkouts.pannuke_metrics:
        found += _of_pannuke_metrics(checkouts.pannuke_metrics)
    if checkouts.cellseg_models:
        found += _of_cellseg_models(checkouts.cellseg_models)
    return [Task(name, ours, tuple(peer for peer in found if peer.task == name)) for name, ours in _ours().items()]


def with_detection(case: Case) -> np.ndarray:
    """Every score of an evaluation on a tile: overlap metrics, counts by class and detection by class."""
    true, predicted = (Segmentation(nuclei.instances, nuclei.classes) for nuclei in (case.true, case.predicted))
    return score_segmentation(true, predicted, dataset.PANNUKE)


def hv_of_batches(batches: Iterable[Any]) -> Iterator[Any]:
    """HV maps of every case of the batches, computed batch by batch."""
    for batch in batches:
        yield from np.asarray(hv_maps(batch))


def batches_of(cases: Sequence[Case]) -> list[np.ndarray]:
    """Instance maps of the cases in batches."""
    return [
        np.stack([case.true.instances for case in cases[start : start + BATCH]])
        for start in range(0, len(cases), BATCH)
    ]


def _ours() -> dict[str, tuple[Candidate, ...]]:
    """Our functions for each task, in the order of the table."""
    return {
        HV: (
            Candidate(f"`hv_maps`, numpy, batches of {BATCH}", hv_of_batches, batches_of),
            _each("`hv_maps`, numpy, one by one", lambda case: hv_maps(case.true.instances[None])[0]),
            Candidate(f"`hv_maps`, torch on the CPU, batches of {BATCH}", hv_of_batches, _tensors_of),
        ),
        AJI: (_each_map("`aji`", aji),),
        AJI_PLUS: (_each_map("`aji_plus`", aji_plus),),
        PQ: (_each_map("`panoptic_quality`", lambda true, predicted: panoptic_quality(true, predicted).pq),),
        DICE: (_each_map("`dice`", dice),),
        PANNUKE: (_each("`tile_scores`", _pannuke),),
        NUCLEI: (_each("`segment`", lambda case: segment(case.np_prob, case.hv)),),
        **{
            f"{NUCLEI}, `{method}`": (_each(f'`segment(method="{method}")`', _segment_by(method)),)
            for method in OTHER_METHODS
        },
        DETECTION: (_each("`centroids_of`, `detection_counts`", _n_detected),),
        PAIRS: (_each("`pair_centroids`", lambda case: pair_centroids(case.true.at, case.predicted.at)),),
        ALL: (_each("`tile_scores` and the metrics of its table", _overlap_metrics),),
        ALL_AND_DETECTION: (_each("`score_segmentation`", with_detection),),
    }


def _of_hover_net(net: peers.HoverNet) -> Iterator[Peer]:
    def named(name: str, act: Callable[[Case], Any]) -> Candidate:
        return _each(f"{peers.HOVER_NET.name} `{name}`", act)

    def hv(case: Case) -> np.ndarray:
        return np.moveaxis(net.hv(case.true.instances, case.true.instances.shape), -1, 0)

    def n_detected(case: Case) -> int:
        pairs, _, _ = net.pair(net.centroids(case.true.instances), net.centroids(case.predicted.instances), RADIUS_PX)
        return len(pairs)

    def of(function: Callable[..., Any]) -> Callable[[Case], Any]:
        return lambda case: function(case.true.instances, case.predicted.instances)

    nuclei = named("__proc_np_hv", lambda case: net.watershed(case.stacked))
    yield Peer(HV, named("gen_instance_hv_map", hv), explained_hv(splits=True))
    yield Peer(AJI, named("get_fast_aji", of(net.aji)), same_numbers)
    yield Peer(AJI_PLUS, named("get_fast_aji_plus", of(net.aji_plus)), same_numbers)
    yield Peer(PQ, named("get_fast_pq", of(lambda true, predicted: net.pq(true, predicted)[0][2])), same_numbers)
    yield Peer(DICE, named("get_dice_1", of(net.dice)), same_numbers)
    yield Peer(NUCLEI, nuclei, same_labels)
    for method in OTHER_METHODS:
        yield Peer(f"{NUCLEI}, `{method}`", nuclei, other_nuclei("another algorithm"))
    yield Peer(DETECTION, named("get_inst_centroid`, `pair_coordinates", n_detected), same_numbers)


def _of_cellvit(vit: peers.CellViT) -> Iterator[Peer]:
    def named(name: str, act: Callable[[Case], Any]) -> Candidate:
        return _each(f"{peers.CELLVIT.name} `{name}`", act)

    def pairs(case: Case) -> Any:
        return vit.pair(case.true.at, case.predicted.at, RADIUS_PX)[0].T

    yield Peer(HV, named("gen_instance_hv_map", lambda case: vit.hv(case.true.instances)), explained_hv(splits=False))
    yield Peer(PAIRS, named("pair_coordinates", pairs), same_pairs)


def _of_pannuke_metrics(metrics: peers.PanNukeMetrics) -> Iterator[Peer]:
    def quality(true: np.ndarray, predicted: np.ndarray) -> float:
        return metrics.pq(true, predicted)[0][2] if len(np.unique(true)) > 1 else float("nan")

    def channel(masks: np.ndarray, number: int) -> Any:
        return metrics.remap(masks[:, :, number].astype("int32"))

    def one_image(case: Case) -> list[float]:
        """The work of run.py for each image."""
        true, predicted = case.true.masks, case.predicted.masks
        binary = quality(metrics.binarize(true), metrics.binarize(predicted))
        return [binary, *(quality(channel(true, k), channel(predicted, k)) for k in range(true.shape[2]))]

    yield Peer(PANNUKE, _each(f"{peers.PANNUKE_METRICS.name} `run.py`", one_image), same_numbers)


def _of_cellseg_models(seg: peers.CellsegModels) -> Iterator[Peer]:
    def named(name: str, act: Callable[[Case], Any]) -> Candidate:
        return _each(f"{peers.CELLSEG_MODELS.name} `{name}`", act)

    def nuclei(case: Case) -> Any:
        return seg.post_process((case.np_prob >= 0.5).astype(np.int32), case.hv[::-1])

    def of(function: Callable[..., Any]) -> Callable[[Case], Any]:
        return lambda case: function(case.true.instances, case.predicted.instances)

    by_overlap = other_definition("pairs by overlap, not by IoU")
    without_small = other_nuclei("the other project drops pieces under 18 px")  # its linear scaling changes nothing
    yield Peer(HV, named("gen_hv_maps", lambda case: seg.hv(case.true.instances)[::-1]), explained_hv(splits=False))
    yield Peer(AJI, named("aggregated_jaccard_index", of(seg.aji)), by_overlap)
    yield Peer(PQ, named("panoptic_quality", of(lambda true, predicted: seg.pq(true, predicted)["pq"])), same_numbers)
    yield Peer(NUCLEI, named("post_proc_hovernet", nuclei), without_small)


def _each(name: str, act: Callable[[Case], Any]) -> Candidate:
    return Candidate(name, lambda cases: map(act, cases))


def _each_map(name: str, metric: Callable[[Any, Any], float]) -> Candidate:
    return _each(name, lambda case: metric(case.true.instances, case.predicted.instances))


def _tensors_of(cases: Sequence[Case]) -> list[torch.Tensor]:
    return [torch.from_numpy(batch) for batch in batches_of(cases)]


def _pannuke(case: Case) -> list[float]:
    scores = tile_scores(case.true.instances, case.true.classes, case.predicted.instances, case.predicted.classes)
    return [scores.bpq, *scores.pq]


def _overlap_metrics(case: Case) -> list[float]:
    """Every overlap metric of a tile from one contingency table."""
    scores = tile_scores(case.true.instances, case.true.classes, case.predicted.instances, case.predicted.classes)
    table = scores.table
    return [aji_of(table), aji_plus_of(table), dice_of(table), scores.bpq, scores.mpq, *scores.pq]


def _segment_by(method: Method) -> Callable[[Case], Any]:
    return lambda case: segment(case.np_prob, case.hv, method=method)


def _n_detected(case: Case) -> int:
    true, predicted = case.true, case.predicted
    laid = overlay(true.instances, predicted.instances)
    true_at, predicted_at = centroids_of(laid, contingency_of(laid))
    table = detection_counts(true_at, true.class_of, predicted_at, predicted.class_of)
    return int(table[:UNPAIRED, :UNPAIRED].sum())
