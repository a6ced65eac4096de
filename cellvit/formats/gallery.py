"""Galleries: pictures of a few test tiles of one decoder, as `evaluate_family` writes them and the report shows them."""

from typing import Literal

from cellvit.formats.documents import Document, Number, Record

Rank = Literal["best", "median", "worst"]
"""Place of a tile by AJI: a gallery of best tiles alone would flatter."""


class Picture(Record):
    """An image with its caption, and a description for readers who cannot see it.

    Attributes:
        uri: The image as a data URI.
        side_px: Side of the square in pixels.
    """

    uri: str
    caption: str
    alt: str
    side_px: int


class GalleryTile(Record):
    """A tile in a gallery.

    Attributes:
        n_true: Nuclei of the ground truth.
        n_predicted: Nuclei of the prediction.
        aji: AJI by system.
        overlays: Ground truth and prediction as contours over the tile.
        maps: NP, horizontal HV, vertical HV and NT.
    """

    tile_id: str
    organ: str
    rank: Rank
    n_true: int
    n_predicted: int
    aji: dict[str, Number]
    overlays: tuple[Picture, ...]
    maps: tuple[Picture, ...]


class Gallery(Document):
    """Best, median and worst test tiles of one decoder by AJI.

    Attributes:
        note: Why there are no pictures; empty where there are some.
    """

    format: Literal["cellvit-gallery"] = "cellvit-gallery"
    split: str
    family: str
    tiles: tuple[GalleryTile, ...] = ()
    note: str = ""
