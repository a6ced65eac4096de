"""Evaluations on the test folds: of a family, of all tiles with the organ predicted, of OrganHead."""

import math
from typing import Literal

from pydantic import Field

from cellvit.formats.documents import Digests, Document, Number, Values


class FamilyEvaluation(Document):
    """A family's decoder on the test folds, organ known.

    Attributes:
        n_patients: Patients of the tiles, which intervals draw with all their tiles; 0 where none is known: intervals
            then draw tiles.
        n_tiles_without_patient: Tiles of unknown patient; beside patients each is drawn by itself.
        n_patients_trained_on: Patients of whom other tiles trained the decoder: figures are then too good.
        systems: Values by system: decoder, pooled (one decoder for all organs), classical, oracle, trivial.
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
    systems: dict[str, Values] = Field(default_factory=dict)
    organs: dict[str, dict[str, Values]] = Field(default_factory=dict)
    train: Values = Field(default_factory=dict)
    gaps: Values = Field(default_factory=dict)
    differences: Values = Field(default_factory=dict)
    tables: Digests = Field(default_factory=dict)


class RoutedEvaluation(Document):
    """All test tiles, each decoded by the family that OrganHead predicts.

    Attributes:
        n_patients: As in `FamilyEvaluation`; `n_tiles_without_patient` likewise.
        systems: Values by system: routed (organ predicted), known (organ given), pooled, classical, oracle,
            trivial.
        organs: The main figures by true organ, then by system.
        organ_head: Values of OrganHead: accuracy, accuracy_majority, balanced_accuracy, calibration_error and
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
    systems: dict[str, Values] = Field(default_factory=dict)
    organs: dict[str, dict[str, Values]] = Field(default_factory=dict)
    organ_head: Values = Field(default_factory=dict)
    organ_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    left_out: dict[str, int] = Field(default_factory=dict)
    differences: Values = Field(default_factory=dict)
    tables: Digests = Field(default_factory=dict)


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
    figures: Values = Field(default_factory=dict)
    recall: Values = Field(default_factory=dict)
    organ_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    temperature: Number = math.nan
    unseen: dict[str, int] = Field(default_factory=dict)
