"""run.json: what was predicted for one image, with which models and settings, and how much of it is in doubt."""

import math
from typing import Any, Literal

from pydantic import Field

from cellvit.formats.documents import Document, Number, Record

RUN: str = "run.json"
NUCLEI: str = "nuclei.geojson"
TABLE: str = "nuclei.csv"
COUNTS: str = "counts.csv"
OVERLAY: str = "overlay.png"
AREA: str = "area.geojson"
PAGE: str = "report.html"
ANNDATA: str = "nuclei.h5ad"


class ImageFacts(Record):
    """The image as its file describes it.

    Attributes:
        name: Name of the file, without its folder.
        width, height: Size of the full resolution in px.
        mpp: Micrometres per pixel; `mpp_source` says where they come from.
        scale: Pixels of the image for each pixel of the model; 1 where it was not resampled.
        kind: Kind of file, and the library that read it.
        notes: What was converted while reading.
    """

    name: str
    width: int
    height: int
    mpp: float
    mpp_source: str
    scale: float
    kind: str
    notes: tuple[str, ...] = ()


class OrganChoice(Record):
    """The organ of the image and the decoder that its tiles were decoded with.

    Attributes:
        organ: Empty if no organ is known to the models.
        chosen_by: given (by the user), predicted (by OrganHead) or none (one decoder for everything).
        votes: Mean probability of each organ over the tiles that voted, largest first, five at most.
        n_tiles: Tiles that voted.
        decoder: Family of the decoder.
    """

    organ: str = ""
    chosen_by: Literal["given", "predicted", "none"]
    votes: dict[str, float] = Field(default_factory=dict)
    n_tiles: int = 0
    decoder: str


class ClassCount(Record):
    """Nuclei of one class, or of all.

    Attributes:
        class_name: A nuclear class, or "all".
        low, high: Interval of the count; NaN where the models have none.
        per_mm2: Nuclei per square millimetre of the analysed area.
    """

    class_name: str
    n: int
    low: Number = math.nan
    high: Number = math.nan
    per_mm2: Number = math.nan


class SlideRun(Document):
    """What was predicted for one image.

    Attributes:
        key: Digest of everything that decides the result: image, models, settings and code. A finished prediction with the
            same key is not repeated.
        models: Name of each bundle and its digest.
        licence: What the licences of the models mean for the predictions.
        commercial_use: False if they forbid it; None if that is not known.
        settings: Options of the prediction.
        area: How the analysed area was chosen, in words; `area_mm2` is its size.
        n_tiles: Tiles that were encoded; `n_unlike` of those in the area are unlike the training data, of `n_judged`.
        n_nuclei: Nuclei that are written.
        counts: By class, "all" first.
        count_level: Stated coverage of their intervals; `count_unit` is patient or tile.
        warnings: What a reader must know before using the numbers, as sentences.
        files: Digest of every other file that was written for the image, by its name.
        computed_on: Device, in words; `versions` of the libraries; `seconds` by part.
    """

    format: Literal["cellvit-prediction"] = "cellvit-prediction"
    version: int = 1
    key: str = ""
    image: ImageFacts
    models: dict[str, str]
    licence: str
    commercial_use: bool | None = None
    settings: dict[str, Any]
    organ: OrganChoice
    area: str
    area_mm2: float
    n_tiles: int
    n_judged: int = 0
    n_unlike: int = 0
    n_nuclei: int
    counts: tuple[ClassCount, ...]
    count_level: float
    count_unit: Literal["patient", "tile", "none"] = "none"
    warnings: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    computed_on: str
    versions: dict[str, str]
    seconds: dict[str, float]

    @property
    def notices(self) -> tuple[str, ...]:
        """What every picture and page of this prediction must say, as sentences: its marks, and a licence that restricts its use."""
        marks = tuple(f"Attention: {mark}." for mark in self.provenance.marks)
        return (*marks, f"No commercial use: {self.licence.rstrip('.')}.") if self.commercial_use is False else marks
