"""Evaluations on the test folds: of a family, of all tiles with the organ predicted, of OrganHead."""

import math
from typing import Final, Literal

from pydantic import Field

from cellvit.formats.documents import Digests, Document, Number, Record, Value, Values
from cellvit.formats.tiles import NotAnnotated

ORGAN_PREDICTED: Final = "organ_predicted"
"""System that decodes each tile by the decoder of its predicted organ, and the family of its rows in summary.csv.

The decoder of an organ is that of `DecoderChoice`: of the organ's family, or the shared one.
"""

ORGAN_GIVEN: Final = "organ_given"
"""System that decodes each tile by the decoder of its true organ, likewise."""

FAMILIES: Final = "families"
"""System that decodes each tile by the decoder of its own family, also where the shared one is used."""


class SourceValues(Record):
    """Values of a system by the source of the test tiles, which is the laboratory or data set that they come from.

    Attributes:
        trained_on: Whether tiles of each source trained the system: unknown if some training tiles name no source.
        n_tiles: Test tiles of each source; tiles that name no source are left out.
        values: The main values by source.
        gaps: Each metric over all tiles of seen sources minus the same over all tiles of unseen ones; empty unless there
            are tiles of both.
    """

    trained_on: dict[str, Literal["seen", "unseen", "unknown"]]
    n_tiles: dict[str, int]
    values: dict[str, Values]
    gaps: Values = Field(default_factory=dict)


class Evaluation(Document):
    """What every evaluation says.

    Attributes:
        status: absent without a model or without test tiles; `reason` then says why.
        n_patients: Patients of the tiles; intervals are over patients with all their tiles. 0 if no patient is known:
            intervals are then over tiles.
        n_tiles_without_patient: Tiles whose patient is unknown; beside patients, each counts as a patient of its own.
    """

    version: int = 5
    split: str
    status: Literal["evaluated", "absent"]
    reason: str = ""
    n_tiles: int
    n_patients: int = 0
    n_tiles_without_patient: int = 0


class FamilyEvaluation(Evaluation):
    """A family's decoder on the test folds, organ given.

    Attributes:
        not_annotated: Test tiles and pixels that are not annotated; they are in no value.
        n_patients_trained_on: Patients of whom other tiles trained the decoder: the values are then too good.
        systems: Values by system: decoder, shared (one decoder for all organs), classical, upper_bound, trivial.
        organs: The main values by organ, then by system.
        sources: Values by source, of the decoder and of the shared decoder; empty where no test tile names a source.
        gaps: Relative gap from training to test: np_dice, hv_mse, nt_accuracy (positive: the test is worse).
        train: Values of the decoder's maps on its own training tiles.
        differences: The decoder minus another system on the same tiles: aji_minus_classical, bpq_minus_shared ...
        class_confusion: Nuclei of the decoder by true (rows) and predicted (columns) class: first nuclei without a class,
            then the nuclear classes, then unpaired ones: false nuclei in the last row, missed ones in the last column.
        tables: Digest of {family}_tiles.csv under the name tiles.
    """

    format: Literal["cellvit-family-evaluation"] = "cellvit-family-evaluation"
    family: str
    n_patients_trained_on: int = 0
    n_nuclei: int = 0
    not_annotated: NotAnnotated = NotAnnotated()
    systems: dict[str, Values] = Field(default_factory=dict)
    organs: dict[str, dict[str, Values]] = Field(default_factory=dict)
    sources: dict[str, SourceValues] = Field(default_factory=dict)
    train: Values = Field(default_factory=dict)
    gaps: Values = Field(default_factory=dict)
    differences: Values = Field(default_factory=dict)
    class_confusion: tuple[tuple[int, ...], ...] = ()
    tables: Digests = Field(default_factory=dict)


class DecoderChoice(Record):
    """The decoder that decodes the tiles of an organ, and why.

    Attributes:
        family: The organ's family.
        decoder: Family whose decoder is used: the organ's own or that of all organs; empty if neither could be trained.
        chosen_by: What decided. organ: the validation tiles of the organ; family: those of the whole family, because the
            organ has too few; setting: routing.decoder; undefined: no validation tile compares both decoders, so that the
            family's own is used; alone: at most one of both could be trained.
        metric: Metric of the comparisons: bpq, mpq or aji; empty if no decoder was tuned.
        own, shared: Values of the family's and of the shared decoder on the validation tiles of the organ that both
            define; None if these were not compared.
        difference: The first minus the second, paired by tile.
        test: The same difference on test tiles, which takes no part in the choice.
    """

    organ: str
    family: str
    decoder: str
    chosen_by: Literal["organ", "family", "setting", "undefined", "alone"]
    metric: str = ""
    own: Value | None = None
    shared: Value | None = None
    difference: Value | None = None
    test: Value | None = None


class RoutedEvaluation(Evaluation):
    """All test tiles, each decoded by the decoder of the organ that OrganHead predicts.

    Attributes:
        not_annotated: Test tiles and pixels that are not annotated; they are in no value.
        decoders: The decoder of every organ of the families.
        systems: Values by system: organ_predicted, organ_given, families, shared, classical, upper_bound, trivial.
        organs: The main values by true organ, then by system.
        organ_head: Values of OrganHead: accuracy, accuracy_majority, balanced_accuracy, calibration_error and
            routing_accuracy.
        confusion: Tiles by true (rows) and predicted (columns) organ, in the order of `organ_names`.
        left_out: Tiles that no decoder could be chosen for, by reason.
        differences: Organ predicted minus another system on the same tiles: aji_minus_organ_given ...
        class_confusion: Nuclei by true and predicted class, as in `FamilyEvaluation`.
        tables: Digest of routed_tiles.csv under the name tiles.
    """

    format: Literal["cellvit-routed-evaluation"] = "cellvit-routed-evaluation"
    version: int = 6
    not_annotated: NotAnnotated = NotAnnotated()
    decoders: tuple[DecoderChoice, ...] = ()
    systems: dict[str, Values] = Field(default_factory=dict)
    organs: dict[str, dict[str, Values]] = Field(default_factory=dict)
    organ_head: Values = Field(default_factory=dict)
    organ_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    left_out: dict[str, int] = Field(default_factory=dict)
    differences: Values = Field(default_factory=dict)
    class_confusion: tuple[tuple[int, ...], ...] = ()
    tables: Digests = Field(default_factory=dict)


class OrganHeadEvaluation(Evaluation):
    """OrganHead on the test folds.

    Attributes:
        values: accuracy, accuracy_majority (always the most frequent organ), balanced_accuracy, calibration_error.
        recall: Share of the tiles of each organ that is predicted correctly; organs without test tiles are not listed.
        organ_names: Organs that are true or predicted.
        confusion: Tiles by true (rows) and predicted (columns) organ, in the order of `organ_names`.
        temperature: Divides the logits; 1 if there were no validation tiles to fit it on.
        unseen: Test tiles by organ, for organs without training tiles: their prediction cannot be right.
    """

    format: Literal["cellvit-organ-head-evaluation"] = "cellvit-organ-head-evaluation"
    values: Values = Field(default_factory=dict)
    recall: Values = Field(default_factory=dict)
    organ_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    temperature: Number = math.nan
    unseen: dict[str, int] = Field(default_factory=dict)
