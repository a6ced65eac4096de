"""What validation tiles say of the doubt in a decoder's predictions: class probabilities, and counts of nuclei."""

import math
from typing import Final, Literal

from pydantic import Field

from cellvit.formats.documents import Document, Number, Record

COUNT_LEVEL: Final = 0.9
"""Stated coverage of the intervals of counts (decision): 0.95 would need 19 patients, 0.9 needs 9."""


class ReliabilityBin(Record):
    """Nuclei whose probability of the predicted class lies in one tenth of 0..1."""

    n: int
    mean_probability: Number
    accuracy: Number


class Reliability(Record):
    """How well the probabilities of classes agree with the share of right classes.

    Attributes:
        bins: Ten bins of equal width.
        error: Expected calibration error, 0..1.
        n: Nuclei: predictions that match an annotated nucleus (IoU above 0.5).
    """

    bins: tuple[ReliabilityBin, ...]
    error: Number
    n: int


ALL_CLASSES: Final = "all"
"""Name of the count of all nuclei, whatever their class."""


class UnitCounts(Record):
    """True and predicted nuclei of one patient (or tile), of all classes together ("all") and by class."""

    unit: str
    true: dict[str, int]
    predicted: dict[str, int]


class CountBound(Record):
    """Half width of the interval of a count, as a share: predicted +- share x (predicted + 1), not below 0.

    Attributes:
        class_name: A nuclear class, or "all".
        share: NaN if there are too few units for the stated coverage, or if no unit has a nucleus of the class.
        n_units: Units from which it was computed, 0 without a nucleus of the class; one that several splits validate counts once.
        test_covered, test_n: Test units whose true count lies in their interval, of how many.
    """

    class_name: str
    share: Number = math.nan
    n_units: int
    test_covered: int = 0
    test_n: int = 0


class DecoderCalibration(Document):
    """Calibration of one decoder.

    Attributes:
        status: fitted; or absent, with the reason (no decoder, or no validation tiles).
        note: What of it could not be fitted, and how that of a final model was pooled, in words.
        temperature: Exponent 1 / temperature of the class probabilities of a nucleus before they are normalised; 1
            changes nothing.
        n_nuclei: Nuclei of the validation tiles from which it was fitted.
        before, after: Reliability on the test tiles with temperature 1 and with this temperature; None without test tiles.
            For a final model the nuclei of the tests of all splits, each with the temperature of its own split.
        unit: What is exchangeable with a new image: patient where every tile names its patient, else tile.
        level: Stated coverage of the intervals of counts.
        units: The validation units; for a final model those of all splits.
        counts: One bound for all nuclei, then one for each class. The coverage of a final model is the sum over the tests of
            the splits, each with the bounds of its own split.
    """

    format: Literal["cellvit-calibration"] = "cellvit-calibration"
    version: int = 1
    split: str
    family: str
    status: Literal["fitted", "absent"]
    reason: str = ""
    note: str = ""
    temperature: Number = 1.0
    n_nuclei: int = 0
    before: Reliability | None = None
    after: Reliability | None = None
    unit: Literal["patient", "tile"] = "tile"
    level: float = COUNT_LEVEL
    units: tuple[UnitCounts, ...] = ()
    counts: tuple[CountBound, ...] = Field(default=())
