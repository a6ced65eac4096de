"""Galleries: pictures of a few test tiles of one decoder, as `evaluate_family` writes them and the report shows them."""

from typing import Literal

from cellvit.formats.documents import Document, Number, Record

Rank = Literal["best", "median", "worst"]
"""Place of a tile by AJI: a gallery of best tiles alone would flatter."""


class Picture(Record):
    """A square image (a data URI) with its caption, and a description for readers who cannot see it."""

    uri: str
    caption: str
    alt: str
    side_px: int


class GalleryTile(Record):
    """A tile in a gallery.

    Attributes:
        origin: The user's file and the position in it; empty where the tile is not cut from one.
        not_annotated: Share of its pixels that are not annotated, which are hatched.
        n_predicted: Predicted nuclei that count (`cellvit.metrics.annotated`).
        aji: AJI by system.
        overlays: Ground truth and prediction as contours over the tile.
        maps: NP, horizontal HV, vertical HV and NT.
    """

    tile_id: str
    organ: str
    origin: str = ""
    rank: Rank
    not_annotated: float = 0.0
    n_true: int
    n_predicted: int
    aji: dict[str, Number]
    overlays: tuple[Picture, ...]
    maps: tuple[Picture, ...]


class Gallery(Document):
    """Best, median and worst test tiles of one decoder by AJI; `note` says why where there are none."""

    format: Literal["cellvit-gallery"] = "cellvit-gallery"
    split: str
    family: str
    tiles: tuple[GalleryTile, ...] = ()
    note: str = ""
