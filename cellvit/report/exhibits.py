"""Galleries -> drawings: each tile once, and views of it that share its contours, with halos, legends and a scale bar."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cellvit.evaluation.contours import OUTCOMES, UNKNOWN_CLASS, halo_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.gallery import Contours, Gallery, GalleryTile, Outcome, Rank
from cellvit.report.data import ReportData

VIEWS: Final = {
    "outcome": "Matched, missed, false",
    "predicted": "Predicted classes",
    "truth": "True classes",
    "plain": "No contours",
}
"""Views that the reader switches between, by the names of the CSS; the first is shown first."""

_WORDS: Final[dict[Outcome, str]] = {
    "matched": "Matched: the prediction and a true nucleus overlap (IoU above 0.5), and the class is right",
    "other_class": "Matched, but of another class",
    "missed": "Missed: a true nucleus without a match (dashed)",
    "false": "False: a predicted nucleus without a match (dotted)",
}


class Swatch(NamedTuple):
    """An entry of a legend: a line as it is drawn over the tissue; `dash` is a CSS class."""

    text: str
    color: str
    halo: str
    dash: str = ""


class Line(NamedTuple):
    """A shape of the tile in a colour with its halo; `dash` is a CSS class."""

    shape: str
    color: str
    halo: str
    dash: str = ""


class View(NamedTuple):
    """One view of a tile: its name in the CSS, its caption, and the lines over the tile."""

    name: str
    caption: str
    lines: tuple[Line, ...]


class Exhibit(NamedTuple):
    """A tile of a gallery: shapes are SVG paths by their id in the page."""

    id: str
    tile: GalleryTile
    shapes: dict[str, str]
    views: tuple[View, ...]


class Room(NamedTuple):
    """The exhibits of one decoder."""

    gallery: Gallery
    exhibits: tuple[Exhibit, ...]


def rooms(galleries: Iterable[Gallery], data_set: DataSet) -> tuple[Room, ...]:
    """Every gallery with the drawings of its tiles."""
    return tuple(
        Room(gallery, tuple(_exhibit(f"g{number}t{place}", tile, data_set) for place, tile in enumerate(gallery.tiles)))
        for number, gallery in enumerate(galleries)
    )


def shown_galleries(data: ReportData) -> tuple[Gallery, ...]:
    """Galleries of the evaluated families: all their tiles in the first split, and one a rank in later splits.

    The shared decoder has the same test tiles as the families, so that its gallery is not shown.
    """
    shown = []
    for decoder in data.decoders:
        gallery, evaluation = decoder.gallery, decoder.evaluation
        if gallery is None or evaluation is None or evaluation.status == "absent" or decoder.is_shared:
            continue
        if gallery.split != data.decoders[0].header.split:
            gallery = gallery.model_copy(update={"tiles": _one_a_rank(gallery.tiles)})
        shown.append(gallery)
    return tuple(shown)


def class_legend(data_set: DataSet) -> tuple[Swatch, ...]:
    """Lines by class, and of nuclei whose class is not known."""
    colors = {entry.name: entry.color for entry in data_set.classes} | {"Class not known": UNKNOWN_CLASS}
    return tuple(Swatch(name, color, halo_of(color)) for name, color in colors.items())


def outcome_legend() -> tuple[Swatch, ...]:
    """Lines by what became of a nucleus."""
    return tuple(Swatch(_WORDS[name], color, halo_of(color), name) for name, color in OUTCOMES.items())


def _exhibit(name: str, tile: GalleryTile, data_set: DataSet) -> Exhibit:
    truth, predicted = _named(f"{name}a", tile.truth), _named(f"{name}b", tile.predicted)
    missed = {shape: one for shape, one in truth.items() if one.outcome == "missed"}
    lines = {
        "outcome": _by_outcome(predicted | missed),
        "predicted": _by_class(predicted, data_set),
        "truth": _by_class(truth, data_set),
        "plain": (),
    }
    captions = {
        "outcome": _outcome_caption(tile),
        "predicted": f"Prediction: {_nuclei(tile.n_predicted)}, by predicted class",
        "truth": f"Ground truth: {_nuclei(tile.n_true)}, by true class",
        "plain": "The tile without contours",
    }
    views = tuple(View(view, captions[view], lines[view]) for view in VIEWS)
    return Exhibit(name, tile, {shape: one.path for shape, one in (truth | predicted).items()}, views)


def _named(prefix: str, contours: Sequence[Contours]) -> dict[str, Contours]:
    return {f"{prefix}{place}": one for place, one in enumerate(contours)}


def _by_outcome(shapes: dict[str, Contours]) -> tuple[Line, ...]:
    colored = ((shape, one.outcome, OUTCOMES[one.outcome]) for shape, one in shapes.items())
    return tuple(Line(shape, color, halo_of(color), outcome) for shape, outcome, color in colored)


def _by_class(shapes: dict[str, Contours], data_set: DataSet) -> tuple[Line, ...]:
    colors = [UNKNOWN_CLASS, *(entry.color for entry in data_set.classes)]
    colored = ((shape, colors[one.class_number]) for shape, one in shapes.items())
    return tuple(Line(shape, color, halo_of(color)) for shape, color in colored)


def _outcome_caption(tile: GalleryTile) -> str:
    matched, other = tile.count("matched", "other_class"), tile.count("other_class")
    of_them = f" ({other} of another class)" if other else ""
    return f"{matched} matched{of_them}, {tile.count('missed')} missed, {tile.count('false')} false"


def _nuclei(count: int) -> str:
    return f"{count} nucleus" if count == 1 else f"{count} nuclei"


def _one_a_rank(tiles: Sequence[GalleryTile]) -> tuple[GalleryTile, ...]:
    """One tile of each rank: of the median ones the second, which is the exact median of an odd number of tiles."""
    shown: dict[Rank, GalleryTile] = {}
    for tile in tiles:
        if tile.rank not in shown or tile.rank == "median":
            shown[tile.rank] = tile
    return tuple(shown.values())
