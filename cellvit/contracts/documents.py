"""Documents: what a step found, as JSON that people and later steps read. Undefined numbers are null, never 0."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cellvit.contracts.provenance import Provenance

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float; NaN where undefined, written as null."""


class Record(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Figure(Record):
    """A number with its 95 % bootstrap interval and what it was measured on.

    Attributes:
        n: Units that define the value (tiles, unless the metric says otherwise).
    """

    value: Number
    low: Number = math.nan
    high: Number = math.nan
    n: int


Figures = dict[str, Figure]
"""Figures by name of the metric."""


Hashes = dict[str, str]
"""Content hashes (sha256) of files that were written beside a document, by name."""


class Check(Record):
    """One integrity check that held."""

    name: str
    expected: str
    found: str


class Document(Record):
    """Header of every document."""

    format: str
    version: int = 1
    provenance: Provenance


class FoldSummary(Document):
    """What `prepare_fold` found in a fold, and what it resolved or dropped.

    Attributes:
        n_patients: Patients that patients.npy names; 0 without that file.
        n_tiles_without_patient: Tiles whose patient is unknown.
        coverage: Share of nuclear pixels.
        empty_tiles: Ids of tiles without a nucleus.
        overlap_px: Pixels that more than one class channel claims; the later channel has them.
        nuclei_painted_over: Nuclei that later channels cover completely; they are in no map.
        background_mismatch_px: Pixels in which the background channel contradicts the classes; the classes decide.
    """

    format: Literal["cellvit-fold-summary"] = "cellvit-fold-summary"
    fold: int
    n_tiles: int
    n_patients: int = 0
    n_tiles_without_patient: int = 0
    tiles_by_organ: dict[str, int]
    nuclei_by_class: dict[str, int]
    coverage: Number
    empty_tiles: tuple[str, ...]
    overlap_px: int
    nuclei_painted_over: int
    background_mismatch_px: int


class FeatureCheck(Document):
    """`check_features` passed for a fold."""

    format: Literal["cellvit-feature-check"] = "cellvit-feature-check"
    fold_id: str = Field(description="stem of the feature store, as fold1")
    n_tiles: int
    cls_std: Number
    checks: tuple[Check, ...]


class TargetCheck(Document):
    """`check_targets` passed for a family; the oracle is the ceiling of every decoder on these tiles.

    Attributes:
        coverage: Share of nuclear pixels.
        hv_magnitude: Mean magnitude of the true HV maps on nuclear pixels.
        oracle: aji, pq and dice of truth -> maps -> nuclei, means over tiles, by method (its default parameters).
    """

    format: Literal["cellvit-target-check"] = "cellvit-target-check"
    family: str
    n_tiles: int
    n_nuclei: int
    tiles_by_fold: dict[str, int]
    tiles_by_organ: dict[str, int]
    nuclei_by_class: dict[str, int]
    coverage: Number
    hv_magnitude: Number
    oracle: dict[str, Figures]
    checks: tuple[Check, ...]


class GridPoint(Record):
    """A method with one set of parameters, and its AJI on the validation folds."""

    method: str
    parameters: dict[str, float]
    aji: Figure


class WatershedChoice(Document):
    """Watershed parameters of a family.

    Attributes:
        status: tuned on validation tiles; default where there are none; absent where there is no decoder.
        reason: Why the status is not tuned.
        method: hovernet or hv_flow.
        parameters: All parameters of the method.
        grid: Every point with the parameters that its grid varies, best first; empty unless tuned.
    """

    format: Literal["cellvit-watershed"] = "cellvit-watershed"
    split: str
    family: str
    status: Literal["tuned", "default", "absent"]
    reason: str = ""
    method: str
    parameters: dict[str, float]
    grid: tuple[GridPoint, ...] = ()
    warnings: tuple[str, ...] = ()


class FamilyEvaluation(Document):
    """A family's decoder on the test folds, organ known.

    Attributes:
        n_patients: Patients of the tiles, which intervals draw with all their tiles; 0 where none is known: intervals
            then draw tiles.
        n_tiles_without_patient: Tiles of unknown patient; beside patients each is drawn by itself.
        n_patients_trained_on: Patients of whom other tiles trained the decoder: figures are then too good.
        systems: Figures by system: decoder, pooled (one decoder for all organs), classical, oracle, trivial.
        organs: The main figures by organ, then by system.
        gaps: Relative gap from training to test: np_dice, hv_mse, nt_accuracy (positive: test is worse).
        train: The figures of the decoder's maps on its own training tiles.
        differences: The decoder minus another system on the same tiles: aji_minus_classical, bpq_minus_pooled ...
        tables: Hash (sha256) of {family}_tiles.csv under the name tiles.
    """

    format: Literal["cellvit-family-evaluation"] = "cellvit-family-evaluation"
    split: str
    family: str
    status: Literal["evaluated", "absent"]
    reason: str = ""
    n_tiles: int
    n_patients: int = 0
    n_tiles_without_patient: int = 0
    n_patients_trained_on: int = 0
    n_nuclei: int = 0
    systems: dict[str, Figures] = Field(default_factory=dict)
    organs: dict[str, dict[str, Figures]] = Field(default_factory=dict)
    train: Figures = Field(default_factory=dict)
    gaps: Figures = Field(default_factory=dict)
    differences: Figures = Field(default_factory=dict)
    tables: Hashes = Field(default_factory=dict)


class RoutedEvaluation(Document):
    """All test tiles, each decoded by the family that OrganHead predicts.

    Attributes:
        n_patients: As in `FamilyEvaluation`; `n_tiles_without_patient` likewise.
        systems: Figures by system: routed (organ predicted), known (organ given), pooled, classical, oracle,
            trivial.
        organs: The main figures by true organ, then by system.
        organ_head: Figures of OrganHead: accuracy, accuracy_majority, balanced_accuracy, calibration_error and
            routing_accuracy.
        confusion: Tiles by true (rows) and predicted (columns) organ, in the order of `organ_names`.
        left_out: Tiles that could not be routed or judged, by reason.
        differences: Routed minus another system on the same tiles: aji_minus_known, bpq_minus_pooled ...
        tables: Hash (sha256) of routed_tiles.csv under the name tiles.
    """

    format: Literal["cellvit-routed-evaluation"] = "cellvit-routed-evaluation"
    split: str
    status: Literal["evaluated", "absent"]
    reason: str = ""
    n_tiles: int
    n_patients: int = 0
    n_tiles_without_patient: int = 0
    systems: dict[str, Figures] = Field(default_factory=dict)
    organs: dict[str, dict[str, Figures]] = Field(default_factory=dict)
    organ_head: Figures = Field(default_factory=dict)
    organ_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    left_out: dict[str, int] = Field(default_factory=dict)
    differences: Figures = Field(default_factory=dict)
    tables: Hashes = Field(default_factory=dict)


class OrganHeadEvaluation(Document):
    """OrganHead on the test folds.

    Attributes:
        status: absent where it could not be trained, or where there is no test tile.
        n_patients: As in `FamilyEvaluation`; `n_tiles_without_patient` likewise.
        figures: accuracy, accuracy_majority (always the most frequent organ), balanced_accuracy, calibration_error.
        recall: Part of the tiles of each organ that is found; organs without test tiles are not listed.
        organ_names: Organs that are there or predicted.
        confusion: Tiles by true (rows) and predicted (columns) organ, in the order of `organ_names`.
        temperature: Divides the logits; 1 where there were no validation tiles to fit it on.
        unseen: Test tiles by organ, for organs without training tiles: they cannot be right.
    """

    format: Literal["cellvit-organ-head-evaluation"] = "cellvit-organ-head-evaluation"
    split: str
    status: Literal["evaluated", "absent"]
    reason: str = ""
    n_tiles: int
    n_patients: int = 0
    n_tiles_without_patient: int = 0
    figures: Figures = Field(default_factory=dict)
    recall: Figures = Field(default_factory=dict)
    organ_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    temperature: Number = math.nan
    unseen: dict[str, int] = Field(default_factory=dict)


class SummaryOrigin(Document):
    """What summary.csv was made from, and what it must say.

    Attributes:
        tables: Hashes (sha256) of summary.csv and summary.txt under their names.
    """

    format: Literal["cellvit-summary-origin"] = "cellvit-summary-origin"
    tables: Hashes


class CheckpointHeader(Document):
    """Header of a checkpoint: what the weights are, what they came from and what they have seen.

    Attributes:
        status: trained; or absent, where there was nothing to train on (no weights in the file).
        architecture: Arguments that rebuild the module.
        folds: Folds by role (train, validate).
        metrics: Figures of the epoch that was kept.
        selection: How the epoch was chosen.
        tables: Hash (sha256) of the history of the training under the name history.
        sha256: Hash of the weights and of the header without this entry.
    """

    format: Literal["cellvit-checkpoint"] = "cellvit-checkpoint"
    kind: Literal["organ_head", "hovernet"]
    split: str
    family: str = ""
    status: Literal["trained", "absent"]
    reason: str = ""
    architecture: dict[str, Any] = Field(default_factory=dict)
    encoder: dict[str, Any] = Field(default_factory=dict)
    classes: tuple[str, ...] = ()
    organs: tuple[str, ...] = ()
    mpp: float
    folds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    tiles: dict[str, int] = Field(default_factory=dict)
    code: str = ""
    epoch: int = 0
    selection: str = ""
    metrics: dict[str, Number] = Field(default_factory=dict)
    tables: Hashes = Field(default_factory=dict)
    sha256: str = ""
    licence: str = "weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial)"
