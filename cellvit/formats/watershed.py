"""The decoding method and its parameters that were chosen for a family."""

from typing import Literal

from cellvit.formats.documents import Document, Record, Value


class GridPoint(Record):
    """A method with one set of parameters, and its AJI on the validation folds."""

    method: str
    parameters: dict[str, float]
    aji: Value


class WatershedChoice(Document):
    """Watershed parameters of a family.

    Attributes:
        status: tuned on validation tiles; default if there are none; absent if there is no decoder.
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
