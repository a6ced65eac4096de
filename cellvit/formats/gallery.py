"""Galleries: pictures of a few test tiles of one decoder, as `evaluate_family` writes them and the report shows them."""

from typing import Literal

from cellvit.formats.documents import Document, Number, Record

Rank = Literal["best", "median", "worst", "random"]
"""Place of a tile by AJI, or a random one: a gallery of best tiles alone would flatter."""

Outcome = Literal["matched", "other_class", "missed", "false"]
"""What became of a nucleus: matched with the right class, matched with another class, true alone, predicted alone."""


class Picture(Record):
    """A square image (a data URI) with its caption, and a description for readers who cannot see it."""

    uri: str
    caption: str
    alt: str
    side_px: int


class Contours(Record):
    """Contours of the nuclei of a tile that have one class and one outcome.

    Attributes:
        class_number: 0 if the class is not known.
        path: SVG path in whole pixels of the tile, where (0, 0) is the middle of the first pixel.
    """

    class_number: int
    outcome: Outcome
    n_nuclei: int
    path: str


class GalleryTile(Record):
    """A tile in a gallery.

    Attributes:
        origin: The user's file and the position in it; empty where the tile is not cut from one.
        not_annotated: Share of its pixels that are not annotated, which are hatched.
        aji: AJI by system.
        image: The tile without contours.
        truth, predicted: Contours of the nuclei that count (`cellvit.metrics.annotated`).
        maps: NP, horizontal HV, vertical HV and NT.
    """

    tile_id: str
    organ: str
    origin: str = ""
    rank: Rank
    not_annotated: float = 0.0
    aji: dict[str, Number]
    image: Picture
    truth: tuple[Contours, ...]
    predicted: tuple[Contours, ...]
    maps: tuple[Picture, ...]

    def count(self, *outcomes: Outcome) -> int:
        """Nuclei with one of these outcomes; a matched pair counts once."""
        missed = (one for one in self.truth if one.outcome == "missed")
        return sum(one.n_nuclei for one in (*self.predicted, *missed) if one.outcome in outcomes)

    @property
    def n_true(self) -> int:
        """True nuclei."""
        return sum(one.n_nuclei for one in self.truth)

    @property
    def n_predicted(self) -> int:
        """Predicted nuclei."""
        return sum(one.n_nuclei for one in self.predicted)


class Gallery(Document):
    """Best, median, worst and random test tiles of one decoder; `note` says why where there are none."""

    format: Literal["cellvit-gallery"] = "cellvit-gallery"
    version: int = 4
    split: str
    family: str
    tiles: tuple[GalleryTile, ...] = ()
    note: str = ""
