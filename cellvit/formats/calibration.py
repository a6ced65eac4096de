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


class UnitCounts(Record):
    """True and predicted nuclei of one patient (or tile), of all classes together ("all") and by class."""

    unit: str
    true: dict[str, int]
    predicted: dict[str, int]


class CountBound(Record):
    """Half width of the interval of a count, as a share: predicted +- share x (predicted + 1), not below 0.

    Attributes:
        class_name: A nuclear class, or "all".
        share: NaN if there are too few units for the stated coverage.
        n_units: Units from which it was computed.
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
        temperature: Exponent 1 / temperature of the class probabilities of a nucleus before they are normalised; 1
            changes nothing.
        n_nuclei: Nuclei of the validation tiles from which it was fitted.
        before, after: Reliability on the test tiles with temperature 1 and with this temperature; on the validation tiles
            for a final model, which has no test tiles.
        unit: What is exchangeable with a new image: patient where every tile names its patient, else tile.
        level: Stated coverage of the intervals of counts.
        units: The validation units.
        counts: One bound for each class, and one for all.
    """

    format: Literal["cellvit-calibration"] = "cellvit-calibration"
    version: int = 1
    split: str
    family: str
    status: Literal["fitted", "absent"]
    reason: str = ""
    temperature: Number = 1.0
    n_nuclei: int = 0
    before: Reliability | None = None
    after: Reliability | None = None
    unit: Literal["patient", "tile"] = "tile"
    level: float = COUNT_LEVEL
    units: tuple[UnitCounts, ...] = ()
    counts: tuple[CountBound, ...] = Field(default=())
