"""The decoding method and its parameters that were chosen for a family, and those of the classical baseline."""

from typing import Literal

from pydantic import Field

from cellvit.formats.documents import Document, Number, Record, Value


class TriedPoint(Record):
    """A method with one set of parameters, and its value on the validation folds.

    Attributes:
        value: Of the metric of the choice; with an interval where all validation tiles were tried, and without where the
            search tried a part of them (n).
    """

    method: str
    parameters: dict[str, float]
    value: Value


class ValidationTile(Record):
    """A validation tile and the value of the chosen point on it; NaN where undefined."""

    tile_id: str
    organ: str
    patient: str
    value: Number


class WatershedChoice(Document):
    """Watershed parameters of a family.

    Attributes:
        status: tuned on validation tiles; default (the parameters from which the search starts) without validation tiles or with
            those of one patient; absent without a decoder.
        reason: Why the status is not tuned.
        select_by: Metric by which the points were compared: bpq, mpq or aji.
        average_views: Whether the maps were averaged over all stored flips and rotations of a tile. The method and its
            parameters fit such maps alone, so that whatever uses them must predict in the same way.
        method: hovernet or hv_flow.
        parameters: All parameters of the method.
        tried: Every point that was tried, with the parameters that the search varied: those that were tried on all
            validation tiles first, best first; empty without validation tiles.
        validation: Every validation tile, from which decoders are compared tile by tile; empty without any,
            and for a final model, for whose decoding a tile may count in several splits.
        classical: All parameters of the classical baseline, chosen by the same metric on the same tiles; its defaults
            without validation tiles.
        classical_value: Its value with them.
    """

    format: Literal["cellvit-watershed"] = "cellvit-watershed"
    version: int = 6
    split: str
    family: str
    status: Literal["tuned", "default", "absent"]
    reason: str = ""
    select_by: str = ""
    average_views: bool = False
    method: str
    parameters: dict[str, float]
    tried: tuple[TriedPoint, ...] = ()
    validation: tuple[ValidationTile, ...] = ()
    classical: dict[str, float] = Field(default_factory=dict)
    classical_value: Value | None = None
