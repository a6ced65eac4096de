"""Settings of the search for watershed parameters, of the integrity checks and of the quality gates."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from cellvit.config.base import Section

Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Share, ...], Field(min_length=1)]
Thresholds = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)]
SelectBy = Literal["bpq", "mpq", "aji"]
Methods = Annotated[tuple[Literal["hovernet", "hv_flow"], ...], Field(min_length=1)]

_METHODS: Methods = ("hovernet", "hv_flow")
_METHOD = "methods that decode maps into nuclei; validation chooses one for each decoder"
_SELECT_BY = (
    "metric on the validation folds that selects the weights of each decoder and the parameters of its decoding: bpq or mpq "
    "(PanNuke's, means over organs) or aji (mean over tiles)"
)


class SelectionSettings(Section):
    """What the training selects the weights by: the part of `WatershedSettings` that it reads."""

    select_by: SelectBy = Field(default="bpq", description=_SELECT_BY)
    method: Methods = Field(default=_METHODS, description=_METHOD)


class WatershedSettings(Section):
    """Where `tune_watershed` searches; a list of several values is where it starts, one value is used as it is."""

    select_by: SelectBy = Field(default="bpq", description=_SELECT_BY)
    method: Methods = Field(default=_METHODS, description=_METHOD)
    np_threshold: Thresholds = Field(
        default=(0.4, 0.5, 0.6), description="NP probability from which a pixel is nuclear"
    )
    hv_threshold: Thresholds = Field(
        default=(0.3, 0.4, 0.5, 0.6),
        description="hovernet: HV gradient energy above which a pixel belongs to a border and not to a marker",
    )
    min_object_px: tuple[PositiveInt, ...] = Field(
        default=(10, 30, 60), min_length=1, description="objects with fewer pixels are removed, or merged (hv_flow)"
    )
    min_gain_px: tuple[NonNegativeFloat, ...] = Field(
        default=(2.0, 5.0, 15.0),
        min_length=1,
        description="hv_flow: how much of HV a cut between two nuclei must explain, in pixels",
    )
    min_fit: Shares = Field(
        default=(0.3, 0.5, 0.7),
        description="hv_flow: lowest fit of a nucleus to HV, as a share of the mean of its tile",
    )
    average_views: bool = Field(
        default=False,
        description="average the maps over all stored flips and rotations of a tile before decoding, in tuning and "
        "evaluation; costs as many forward passes. Needs features.views with more than identity. Colour views are not "
        "averaged, and training selects its weights by maps of the identity view",
    )

    @property
    def selection(self) -> SelectionSettings:
        """What the training reads of these settings."""
        return SelectionSettings(select_by=self.select_by, method=self.method)


class RoutingSettings(Section):
    """Which decoder decodes the tiles of an organ."""

    decoder: Literal["validation", "family"] = Field(
        default="validation",
        description="validation: the decoder of the organ's family or the shared decoder, whichever is better on the organ's "
        "validation tiles by watershed.select_by; family: that of the family. If one of both could not be trained, the other "
        "is used. It decides organ_given and organ_predicted; the values of single families do not depend on it",
    )


FindingKind = Literal[
    "constant_image",
    "cut_off_image",
    "binary_masks",
    "hollow_masks",
    "overlapping_classes",
    "resolution",
    "misplaced_annotation",
    "identical_images",
    "similar_images",
    "shared_patients",
    "enclosing",
    "no_nuclei",
]
"""Checks of the data that stop a run (docs/checks.md)."""


class IntegrityGates(Section):
    """Limits of the integrity checks, which stop a run because its values would be wrong."""

    np_coverage: tuple[Share, Share] = Field(
        default=(0.005, 0.60), description="plausible share of nuclear pixels over all tiles of a fold"
    )
    upper_bound_aji: Share = Field(
        default=0.80,
        description="lowest mean AJI of the upper bound (ground truth -> maps -> watershed); below it the targets or the "
        "decoding are broken",
    )
    accepted_findings: tuple[FindingKind, ...] = Field(
        default=(),
        description="checks of the data that warn and do not stop the run, once you have looked at what they found "
        "(docs/checks.md), such as misplaced_annotation for another stain than H&E",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.np_coverage
        if low >= high:
            raise ValueError(f"gates.integrity.np_coverage=[{low}, {high}] must be in increasing order")
        return self


class Gate(Section):
    """The limits of one quality gate."""

    passes: float = Field(alias="pass", description="limit for pass")
    partial: float | None = Field(
        default=None, description="weaker limit, above which the grade is partial; null: the grade is pass or fail"
    )


def _gate(description: str, passes: float, partial: float | None = None) -> Any:
    return Field(default=Gate.model_validate({"pass": passes, "partial": partial}), description=description)


WORST_AND_BEST: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "organ_accuracy": (0, 1),
        "hv_length": (0, math.sqrt(2)),  # both channels of HV end at 1
        "aji": (0, 1),
        "hv_mse": (math.inf, 0),
        "hv_skill": (-math.inf, 1),
        "hv_angle": (180, 0),
        "np_dice": (0, 1),
        "gap_np_dice": (1, -math.inf),
        "gap_hv_mse": (math.inf, -1),
        "gap_nt_accuracy": (1, -math.inf),
    }
)
"""The worst and the best value of each metric with a quality gate."""


def _gate_faults(name: str, gate: Gate) -> Iterator[str]:
    """A limit that no value can miss or pass, and a limit for partial that is not weaker than that for pass."""
    worst, best = WORST_AND_BEST[name]
    sign = 1 if best > worst else -1
    for key, limit in (("pass", gate.passes), ("partial", gate.partial)):
        if limit is None or sign * worst <= sign * limit < sign * best:
            continue
        verdict = "fail" if sign * limit < sign * worst else "pass"
        yield f"gates.quality.{name}.{key}={limit:g}: no value could {verdict}; the metric is between {worst:g} (worst) and {best:.3g}"
    if gate.partial is not None and sign * gate.partial >= sign * gate.passes:
        yield f"gates.quality.{name}.partial={gate.partial:g} must be weaker than pass={gate.passes:g}, or null"


class QualityGates(Section):
    """Limits that grade a result pass, partial or fail; they never stop a run."""

    organ_accuracy: Gate = _gate(
        "accuracy of OrganHead, above this; published heads reach 0.89 to 0.93 on the official folds, and 0.99 only where "
        "neighbouring tiles are in training and test",
        0.90,
        0.85,
    )
    hv_length: Gate = _gate(
        "mean length of the predicted HV vectors on nuclear pixels, above this; says little without hv_angle",
        0.40,
        0.20,
    )
    aji: Gate = _gate("AJI, above this", 0.50, 0.30)
    hv_mse: Gate = _gate("HV MSE, below this", 0.30)
    hv_skill: Gate = _gate("HV skill, above this", 0.0)
    hv_angle: Gate = _gate("mean angle error of the HV vectors in degrees (signal to noise), below this", 30.0, 45.0)
    np_dice: Gate = _gate("NP Dice, above this", 0.70)
    gap_np_dice: Gate = _gate("(train - test) / train of NP Dice, below this", 0.02)
    gap_hv_mse: Gate = _gate("(test - train) / train of HV MSE, below this", 0.20)
    gap_nt_accuracy: Gate = _gate("(train - test) / train of NT accuracy, below this", 0.03)

    @model_validator(mode="after")
    def _can_pass_and_fail(self) -> Self:
        faults = [fault for name in type(self).model_fields for fault in _gate_faults(name, getattr(self, name))]
        if faults:
            raise ValueError("\n  ".join(faults))
        return self


class GatesSettings(Section):
    """Integrity checks stop the run; quality gates are graded in the summary."""

    integrity: IntegrityGates = Field(default_factory=IntegrityGates, description="limits that stop the run")
    quality: QualityGates = Field(default_factory=QualityGates, description="limits that grade the results")
