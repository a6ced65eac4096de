"""Names that the page uses: metrics with their conventions, systems, families, grades."""

from typing import Final, NamedTuple

from cellvit.formats.checkpoints import StartWeights
from cellvit.formats.dataset import DataSet
from cellvit.formats.summary import MEAN_SPLIT
from cellvit.formats.tiles import NotAnnotated
from cellvit.metrics.intervals import MIN_UNITS
from cellvit.taxonomy import ONE_DECODER, SHARED_FAMILY


class Metric(NamedTuple):
    """Name of a metric, and the convention by which it is computed."""

    label: str
    convention: str


_PUBLISHED = "PanNuke's protocol: mean over tiles, then over organs"
_TILES = "mean over tiles"
_PIXELS = "pixels of all tiles pooled"
_NUCLEAR_PIXELS = "over nuclear pixels of all tiles pooled"
_CENTROIDS = "centroids within 3 µm, counts added over all tiles"
_NEAR = "centroids paired within 3 µm, with the distances beyond it excluded before the assignment"
_MATCHED = "mean over all nuclei that match at IoU > 0.5"
_PRESENT = "classes that are absent from the ground truth of a tile do not count"

METRICS: Final = {
    "aji": Metric("AJI", f"{_TILES}; one predicted nucleus may match several true ones"),
    "aji_plus": Metric("AJI+", f"{_TILES}; matched one to one"),
    "bpq": Metric("bPQ", _PUBLISHED),
    "bpq_image": Metric("bPQ, image mean", _TILES),
    "bpq_1px": Metric(
        "bPQ, border tolerance 1 px", f"{_PUBLISHED}; pixels on both sides of a true border do not count"
    ),
    "mpq": Metric("mPQ", f"{_PUBLISHED}; {_PRESENT}"),
    "mpq_image": Metric("mPQ, image mean", f"{_TILES}; {_PRESENT}"),
    "mpq_strict": Metric(
        "mPQ, strict", "as mPQ, but predicted nuclei of a class that is absent from the ground truth are errors"
    ),
    "mpq_pooled": Metric(
        "mPQ+, pooled", "CoNIC: counts of each class added over all tiles, then the mean over classes"
    ),
    "pq": Metric("PQ", f"{_TILES}, classes ignored; predicted nuclei on empty tiles are errors"),
    "dq": Metric("DQ", f"{_TILES}; detection part of PQ"),
    "sq": Metric("SQ", f"{_TILES}; segmentation part of PQ"),
    "dice": Metric("Dice of nuclei", f"{_TILES}; pixels of the segmented nuclei against background"),
    "detection_precision": Metric("Detection precision", _CENTROIDS),
    "detection_recall": Metric("Detection recall", _CENTROIDS),
    "detection_f1": Metric("Detection F1", _CENTROIDS),
    "detection_near_precision": Metric("Detection precision, near pairs", _NEAR),
    "detection_near_recall": Metric("Detection recall, near pairs", _NEAR),
    "detection_near_f1": Metric("Detection F1, near pairs", _NEAR),
    "boundary_um": Metric("Distance of outlines, µm", f"{_MATCHED}; mean over the pixels of both outlines"),
    "hausdorff_um": Metric(
        "Hausdorff distance (95 %), µm", f"{_MATCHED}; 95 % of each outline are nearer to the other"
    ),
    "class_calibration_error": Metric(
        "Calibration error of classes (ECE)", f"15 bins of the probability of the predicted class; {_NEAR}"
    ),
    "count_bias": Metric("Bias of counts", "predicted minus true nuclei, mean over tiles"),
    "count_limit": Metric("Limits of agreement of counts, ±", "bias ± this holds 95 % of the tiles (Bland and Altman)"),
    "count_concordance": Metric("Concordance of counts", "Lin's coefficient over tiles; 1 if all counts are equal"),
    "precision": Metric("Precision", _CENTROIDS),
    "recall": Metric("Recall", _CENTROIDS),
    "f1": Metric("F1", f"{_CENTROIDS}; a pair with the wrong class counts twice (HoVer-Net's convention)"),
    "np_dice": Metric("NP Dice", f"map before the watershed, {_PIXELS}"),
    "hv_mse": Metric("HV MSE", f"{_NUCLEAR_PIXELS}, both channels"),
    "hv_skill": Metric("HV skill", "1 - MSE / MSE of an HV of zero; 0: no better than zero, 1: perfect"),
    "hv_angle": Metric(
        "HV angle error", f"degrees, mean {_NUCLEAR_PIXELS}; a random direction has 90 (signal to noise)"
    ),
    "hv_length": Metric("HV length", f"mean of sqrt(h² + v²) {_NUCLEAR_PIXELS}; a perfect disc has 0.67"),
    "nt_accuracy": Metric("NT accuracy", f"share of pixels with the right class, {_NUCLEAR_PIXELS}"),
    "accuracy": Metric("Accuracy", "share of tiles whose organ is right"),
    "accuracy_majority": Metric("Accuracy of the majority organ", "baseline: always the most frequent organ"),
    "balanced_accuracy": Metric("Balanced accuracy", "mean recall over the organs of the test tiles"),
    "calibration_error": Metric("Calibration error (ECE)", "15 bins of confidence, after temperature scaling"),
    "routing_accuracy": Metric(
        "Routing accuracy", "share of tiles that are decoded by the decoder of their true organ"
    ),
    "organ_accuracy": Metric("OrganHead accuracy", "share of tiles whose organ is right"),
}
"""Metrics by the names of documents and summary.csv."""

_CLASS_PQ: Final = Metric("PQ", "PanNuke's protocol: mean over the tiles whose ground truth has the class")

GAP_METRICS: Final = {
    "np_dice": Metric("NP Dice", "(train - test) / train"),
    "hv_mse": Metric("HV MSE", "(test - train) / train"),
    "nt_accuracy": Metric("NT accuracy", "(train - test) / train"),
}
"""Gaps from training to test; positive where the test is worse."""

SYSTEMS: Final = {
    "decoder": "Decoder",
    "organ_predicted": "Organ predicted",
    "organ_given": "Organ given",
    "families": "Family decoders alone (organ given)",
    "shared": "Shared decoder (all organs)",
    "classical": "Classical (Otsu + distance watershed)",
    "trivial": "Trivial answer",
    "upper_bound": "Upper bound (perfect maps, decoded)",
}
"""Systems by the names of documents, in the order of the columns."""

_SHORT: Final = {
    "decoder": "Decoder",
    "shared": "Shared decoder",
    "classical": "Classical",
    "upper_bound": "Upper bound",
}

_FAMILIES: Final = {
    SHARED_FAMILY: "all organs (shared decoder)",
    ONE_DECODER: "the decoder",
    "organ_predicted": "all test tiles, organ predicted",
    "organ_given": "all test tiles, organ given",
    "organ_head": "OrganHead",
}
"""Families of summary.csv that are not families of the settings."""

_OF_CLASS: Final = ("pq", "precision", "recall", "f1", "count_bias", "count_limit", "count_concordance")
"""Metrics that are also reported for each class."""


def split_class(metric: str, data_set: DataSet) -> tuple[str, str] | None:
    """Base and class of a metric of one class; None for a metric of all.

    Examples:
        >>> from cellvit.formats.dataset import PANNUKE
        >>> split_class("pq_neoplastic", PANNUKE), split_class("aji_plus", PANNUKE)
        (('pq', 'Neoplastic'), None)
    """
    name_of = dict(zip(data_set.class_keys, data_set.class_names[1:], strict=True))
    found = ((base, metric.removeprefix(f"{base}_")) for base in _OF_CLASS if metric.startswith(f"{base}_"))
    return next(((base, name_of[key]) for base, key in found if key in name_of), None)


def metric_of(name: str) -> Metric:
    """Name and convention of a metric; one that is not listed is shown by its own name.

    Examples:
        >>> metric_of("aji_plus").label, metric_of("shape_error").label
        ('AJI+', 'shape error')
    """
    if name in METRICS:
        return METRICS[name]
    if name.startswith("gap_") and name.removeprefix("gap_") in GAP_METRICS:
        gap = GAP_METRICS[name.removeprefix("gap_")]
        return Metric(f"Gap of {gap.label}", f"{gap.convention}, training to test")
    first, minus, other = name.partition("_minus_")
    if minus:
        return Metric(f"{metric_of(first).label}, minus: {system_label(other)}", "paired difference on the same tiles")
    return Metric(name.replace("_", " "), "")


def class_metric(base: str) -> Metric:
    """Name and convention of a metric of one class, under the heading of that class."""
    return _CLASS_PQ if base == "pq" else metric_of(base)


def system_label(system: str) -> str:
    """Name of a system."""
    return SYSTEMS.get(system, system.replace("_", " "))


def short_label(system: str) -> str:
    """Name of a system where there is little room."""
    return _SHORT.get(system, system_label(system))


def in_order(systems: set[str]) -> tuple[str, ...]:
    """Systems in the order of the columns; systems that are not listed come last."""
    listed = list(SYSTEMS)
    return tuple(sorted(systems, key=lambda name: (listed.index(name) if name in SYSTEMS else len(listed), name)))


def family_label(family: str) -> str:
    """Name of a family."""
    return _FAMILIES.get(family, family)


def split_label(split: str) -> str:
    """Name of a split."""
    return "mean over splits" if split == MEAN_SPLIT else f"split {split}"


def decoder_label(split: str, family: str) -> str:
    """Name of a decoder, such as ``split 1 · digestive``."""
    return f"split {split} · {family_label(family)}"


def interval_label(n_patients: int, n_tiles_without: int) -> str:
    """What the intervals of an evaluation are over: patients (0 where none is known) and tiles without one.

    Examples:
        >>> interval_label(12, 3)
        '95 % interval over 12 patients and 3 tiles of unknown patient'
    """
    if not n_patients:
        return "95 % interval over tiles (too narrow: tiles of a patient are alike, and the patients are unknown)"
    if n_patients + n_tiles_without < MIN_UNITS:
        return f"fewer than {MIN_UNITS} patients: no interval"
    rest = f" and {counted(n_tiles_without, 'tile')} of unknown patient" if n_tiles_without else ""
    return f"95 % interval over {counted(n_patients, 'patient')}{rest}"


def not_annotated_text(found: NotAnnotated) -> str:
    """What is not annotated of some tiles, in a sentence; empty if nothing.

    Examples:
        >>> not_annotated_text(NotAnnotated(share=0.125, n_partly=3, n_wholly=1))
        '12.5% of the pixels are not annotated and count nowhere (3 tiles in part; 1 tile wholly, which is not scored).'
    """
    if not found.share > 0:
        return ""
    parts = [f"{counted(found.n_partly, 'tile')} in part"] if found.n_partly else []
    if found.n_wholly:
        which = "which is" if found.n_wholly == 1 else "which are"
        parts.append(f"{counted(found.n_wholly, 'tile')} wholly, {which} not scored")
    return f"{share_of_pixels(found.share)} of the pixels are not annotated and count nowhere ({'; '.join(parts)})."


def share_of_pixels(share: float) -> str:
    """A share in percent; one that is not 0 never looks like 0.

    Examples:
        >>> share_of_pixels(0.125), share_of_pixels(0.00001), share_of_pixels(0)
        ('12.5%', '<0.1%', '0.0%')
    """
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def start_line(start: StartWeights, n_validate: int) -> str:
    """Where a training started, as a continued sentence, and what these weights had already seen."""
    new = f", and new weights for {', '.join(start.new)} (other classes)" if start.new else ""
    seen = (
        f" The start weights have seen {start.n_validation_tiles_seen:,} of {n_validate:,} validation tiles: the selected step "
        "and the decoding may fit them too well."
    )
    return (
        f" It started from the weights of {start.file} (split {start.split}, family {start.family}, step {start.step}, sha256 "
        f"{start.sha256[:16]}){new}.{seen if start.n_validation_tiles_seen else ''}"
    )


def counted(count: int, thing: str) -> str:
    """A count of things, as ``1 tile`` or ``2,000 tiles``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def duration(seconds: float) -> str:
    """A time in hours and minutes (``2 h 04 min``), or in minutes and seconds (``1 min 15 s``)."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
