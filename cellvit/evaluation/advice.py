"""Grades -> what to try, with numbers, from the settings in use and the curves of the training.

Each metric that did not pass has several remedies, best first. A remedy changes settings. The metrics are taken by
priority (noise in HV first, because everything after it depends on HV), and a remedy that would raise what an earlier one
lowers, or lower what it raises, is passed over: one decoder never gets two opposite recommendations.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from cellvit.evaluation.grading import BASELINE_OF, GRADED, beats_baseline, is_reversed_gap
from cellvit.evaluation.training_record import TrainingRecord
from cellvit.formats.evaluations import ORGAN_GIVEN, ORGAN_PREDICTED
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow

Rows = Mapping[str, SummaryRow]

FEW_STEPS: Final = 1500
"""Families whose decoders took fewer steps lose to the shared decoder for that reason alone (docs/results.md)."""

_MOSTLY: Final = 0.5
"""Share of clipped steps from which clipping decides how far a step goes."""

_FASTER: Final = 2e-4
"""Learning rate that is recommended where a lower one ends before the loss is flat."""

_FINER_PX: Final = 448
"""Side of the input that is recommended for finer tokens: twice the usual one."""

_RIVALS: Final = ("hv_weight", "np_weight", "nt_weight")
"""Weights of the loss that are shares of one total: AdamW does not see its scale, and to raise all of them changes nothing."""

LENGTH_ALONE: Final = (
    "change nothing: the length alone means nothing to segmentation, because the decoding does not depend on the scale of "
    "HV, and the signal to noise of HV (hv_skill, hv_angle) passes"
)


class Change(NamedTuple):
    """One setting that a remedy changes.

    Attributes:
        setting: Name of the setting; training.steps also stands for the settings that it takes the place of.
        direction: Whether its value is raised or lowered; 0 where it is replaced.
    """

    setting: str
    direction: Literal[-1, 0, 1]


class Remedy(NamedTuple):
    """Something to try, in words with numbers, and the settings that it changes."""

    text: str
    changes: tuple[Change, ...] = ()


class Advice(NamedTuple):
    """What to try for a metric that did not pass.

    Attributes:
        result: Metric, value and grade, and the baseline if that is as good or better.
        fix: What to try first.
        changes: The settings that the fix changes.
    """

    result: str
    fix: str
    changes: tuple[Change, ...]


def advice(rows: Rows, record: TrainingRecord | None = None) -> tuple[Advice, ...]:
    """Advice for each metric of a split and family that did not pass, in the order of `GRADED`.

    Args:
        record: How the decoder was trained; None assumes the default settings.
    """
    record = record or TrainingRecord()
    taken: dict[str, int] = {}
    found: dict[str, Advice] = {}
    for metric in sorted(_failed(rows), key=_PRIORITY.index):
        for remedy in _remedies(metric, rows, record):
            if all(taken.get(change.setting, change.direction) == change.direction for change in remedy.changes):
                taken |= dict(remedy.changes)
                found[metric] = Advice(_result(metric, rows), remedy.text, remedy.changes)
                break
    return tuple(found[metric] for metric in GRADED if metric in found)


def advice_by_fix(
    keyed: Mapping[tuple[str, str], Rows],
    records: Mapping[tuple[str, str], TrainingRecord] = MappingProxyType({}),
    label: Callable[[str], str] = str,
) -> dict[str, tuple[str, ...]]:
    """What to try, each with the results that it may help; the fix with most results first.

    Args:
        keyed: Graded rows by split and family. Means over splits and the systems of all tiles are left out: their advice
            is that of the splits, and of the decoders that they use.
        records: How the decoders were trained, by split and family.
        label: Name of a family as it is shown.
    """
    grouped: dict[str, list[str]] = {}
    for (split, family), rows in keyed.items():
        if split == MEAN_SPLIT or family in (ORGAN_PREDICTED, ORGAN_GIVEN):
            continue
        for one in advice(rows, records.get((split, family))):
            grouped.setdefault(one.fix, []).append(f"split {split}, {label(family)}: {one.result}")
    ordered = sorted(grouped, key=lambda fix: (fix == LENGTH_ALONE, -len(grouped[fix])))
    return {fix: tuple(grouped[fix]) for fix in ordered}


def signal_passes(rows: Rows) -> bool:
    """Whether HV skill and angle error, as far as they are there, pass; False if neither is."""
    grades = [rows[metric].gate for metric in ("hv_skill", "hv_angle") if metric in rows]
    return bool(grades) and set(grades) == {"pass"}


def _failed(rows: Rows) -> Iterator[str]:
    return (metric for metric in GRADED if metric in rows and rows[metric].gate in ("partial", "fail"))


def _remedies(metric: str, rows: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    if record.training["steps"] == 0 and metric != "organ_accuracy":
        text = f"the weights of training.start_from were not trained on these tiles: train them (training.steps: {2 * FEW_STEPS})"
        yield Remedy(text)
    elif is_reversed_gap(metric, rows):
        text = "the training tiles are worse than the test tiles: compare their folds (organs, stain, annotation) in the report"
        yield Remedy(text)
    else:
        yield from _REMEDIES[metric](rows, record)


def _result(metric: str, rows: Rows) -> str:
    row = rows[metric]
    baseline = BASELINE_OF[metric] if not beats_baseline(metric, rows) else ""
    lost = f" (not better than {baseline}, {rows[baseline].value:.3f})" if baseline else ""
    return f"{metric} {row.value:.3f} {row.gate}{lost}"


def _more_training(_: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    """More steps where few were taken or the loss still fell; larger ones where most were clipped."""
    training, more = record.training, (Change("training.steps", 1),)
    if 0 < record.steps < FEW_STEPS:
        from_scratch = training["start_from"] == "scratch" and not record.is_shared
        from_shared = training["start_from"] == "shared" and not record.is_shared
        after = " after those of the shared decoder" if from_shared else ""
        shared = ", or start from the shared decoder (training.start_from: shared)" if from_scratch else ""
        text = f"only {record.steps} steps were taken{after}: train longer (training.steps: {2 * FEW_STEPS}){shared}"
        yield Remedy(text, more)
    if record.clipped > _MOSTLY:
        norm = training["max_norm"]
        text = (
            f"{record.clipped:.0%} of the gradients were clipped to {norm:g}: raise training.max_norm to {5 * norm:g}"
        )
        yield Remedy(text, (Change("training.max_norm", 1),))
    if record.still_falls:
        longer = f"train longer (training.steps: {2 * record.steps})"
        if training["learning_rate"] < _FASTER:
            text = f"the loss still fell at the end: raise training.learning_rate to {_FASTER:g}, or {longer}"
            yield Remedy(text, (Change("training.learning_rate", 1), *more))
        else:
            yield Remedy(f"the loss still fell at the end: {longer}", more)


def _hv(rows: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    yield from _more_training(rows, record)
    yield _weight(record, "hv_weight", 2.0, "HV is noisy")
    yield from _finer_tokens(record, "HV is noisy")


def _length(rows: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    if signal_passes(rows):
        yield Remedy(LENGTH_ALONE)
    else:
        yield from _hv(rows, record)


def _np(rows: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    yield from _more_training(rows, record)
    yield _weight(record, "np_weight", 1.5, "NP is weak")
    magnitude = record.loss_weight("hv_magnitude_weight")
    if magnitude > 0:
        lower = 0.5 if magnitude > 0.5 else magnitude / 2
        name = "training.loss.hv_magnitude_weight"
        yield Remedy(f"NP is weak: lower {name} from {magnitude:g} to {lower:g}", (Change(name, -1),))
    yield _AFTER_OTHERS


def _nt(rows: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    yield from _more_training(rows, record)
    if not record.training["loss"]["class_weights"]:
        name = "training.loss.class_weights"
        yield Remedy(f"classes are confused: set {name}: true", (Change(name, 0),))
    yield _weight(record, "nt_weight", 1.5, "classes are confused (see the classes in the report)")
    yield _AFTER_OTHERS


def _segmentation(rows: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    if record.decoder["image_stem"] == "none":
        text = "give the decoder the image (decoder.image_stem: rgb): tokens alone do not show borders"
        yield Remedy(text, (Change("decoder.image_stem", 0),))
    yield from _more_training(rows, record)
    if not signal_passes(rows):
        yield _weight(record, "hv_weight", 2.0, "nuclei are not separated well")
    yield from _finer_tokens(record, "nuclei are not separated well")


def _overfits(_: Rows, record: TrainingRecord) -> Iterator[Remedy]:
    if not record.training["augment"]:
        yield Remedy("the decoder overfits: set training.augment: true", (Change("training.augment", 0),))
    dropout = float(record.decoder["dropout"])
    higher = 0.2 if dropout < 0.2 else (1 + dropout) / 2
    yield Remedy(
        f"the decoder overfits: raise decoder.dropout from {dropout:g} to {higher:.2g}", (Change("decoder.dropout", 1),)
    )


def _organ_head(_: Rows, __: TrainingRecord) -> Iterator[Remedy]:
    yield Remedy("train OrganHead longer (organ_head.epochs) and check that its folds contain every organ")


def _finer_tokens(record: TrainingRecord, why: str) -> Iterator[Remedy]:
    if record.input_px < _FINER_PX:
        yield Remedy(f"{why}: extract finer tokens (features.input_px: {_FINER_PX})", (Change("features.input_px", 1),))
    yield Remedy(f"{why}: try another encoder (encoder.preset), or train on more annotated tiles")


def _weight(record: TrainingRecord, name: str, recommended: float, why: str) -> Remedy:
    """Raise a weight of the loss to the recommended value, or by half where it is there already; this lowers its rivals."""
    weight = record.loss_weight(name)
    higher = recommended if weight < recommended else 1.5 * weight
    setting = f"training.loss.{name}"
    changes = [Change(setting, 1), *(Change(f"training.loss.{rival}", -1) for rival in _RIVALS if rival != name)]
    if name == "hv_weight":  # and with it all parts of HV
        changes.append(Change("training.loss.hv_magnitude_weight", 1))
    if record.training["loss"]["weighting"] == "adaptive":  # its weights end where they do, wherever they start
        changes.append(Change("training.loss.weighting", 0))
        return Remedy(f"{why}: set training.loss.weighting: fixed, and {setting}: {recommended:g}", tuple(changes))
    return Remedy(f"{why}: raise {setting} from {weight:g} to {higher:g}", tuple(changes))


_AFTER_OTHERS: Final = Remedy(
    "first do what is proposed for the other parts of the loss, and run again: to raise the weights of all parts changes nothing"
)

_REMEDIES: Final[Mapping[str, Callable[[Rows, TrainingRecord], Iterator[Remedy]]]] = MappingProxyType(
    {
        "hv_angle": _hv,
        "hv_skill": _hv,
        "hv_mse": _hv,
        "np_dice": _np,
        "aji": _segmentation,
        "bpq": _segmentation,
        "nt_accuracy": _nt,
        "gap_np_dice": _overfits,
        "gap_hv_mse": _overfits,
        "gap_nt_accuracy": _overfits,
        "hv_length": _length,
        "organ_accuracy": _organ_head,
    }
)
"""Remedies by metric, in the order of their priority."""

_PRIORITY: Final = tuple(_REMEDIES)
