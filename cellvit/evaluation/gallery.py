"""Galleries: which test tiles are shown, and their pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from cellvit.evaluation.overlays import CLASS_COLOURS, class_map_png, overlay_png
from cellvit.formats.tile_table import TileScores
from cellvit.inference.predictions import Segmentation
from cellvit.evaluation.images import colour_mapped_png
from cellvit.taxonomy import CLASS_NAMES, NUCLEUS_CLASSES, NucleusClass

RANKS: Final = ("best", "median", "worst")
"""What is shown of each family: a gallery of best tiles alone would flatter."""

HV_COLOURS: Final = "RdBu_r"
"""Diverging colours of the HV maps: white at 0, blue to the left or up, red to the right or down."""

NP_COLOURS: Final = "cividis"
"""Colours of the NP map, made for eyes without red or green (Nuñez et al. 2018)."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tile that is shown, and why.

    Attributes:
        aji: By system.
    """

    tile_id: str
    organ: str
    rank: str
    n_true: int
    n_found: int
    aji: dict[str, float]


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a decoder says about one tile, computed again for its pictures.

    Attributes:
        np_prob: Probability that a pixel is nuclear.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        nt_class: Most probable `NucleusClass` of each pixel.
        np_threshold: Probability from which the watershed takes a pixel for nuclear.
    """

    tile_id: str
    image: UInt8[np.ndarray, "h w 3"]
    truth: Segmentation
    found: Segmentation
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    nt_class: UInt8[np.ndarray, "h w"]
    np_threshold: float

    @property
    def n_found(self) -> int:
        """Number of nuclei found."""
        return int(self.found.instances.max(initial=0))


@dataclass(frozen=True, slots=True)
class Picture:
    """An image with what stands under it and what a reader who cannot see it is told."""

    uri: str
    caption: str
    alt: str
    side_px: int


@dataclass(frozen=True, slots=True)
class Swatch:
    """A colour of the legend."""

    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A tile in a gallery.

    Attributes:
        overlays: Truth and prediction as contours over the tile.
        maps: NP, horizontal HV, vertical HV and NT.
        remark: What is odd about it; empty where nothing is.
    """

    chosen: Chosen
    overlays: tuple[Picture, ...]
    maps: tuple[Picture, ...]
    remark: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Test tiles of one decoder.

    Attributes:
        note: What was left out, or why there is nothing to see.
    """

    split: str
    family: str
    exhibits: tuple[Exhibit, ...]
    note: str = ""


def choose_tiles(tiles: Mapping[str, TileScores], *, per_rank: int) -> tuple[Chosen, ...]:
    """Best, median and worst tiles of the decoder by AJI, `per_rank` of each, none twice.

    Tiles without a true nucleus are left out: their AJI is 0 or undefined whatever they look like.
    """
    if "decoder" not in tiles:
        return ()
    decoder = tiles["decoder"]
    aji = decoder.column("aji")
    defined = np.flatnonzero((decoder.column("n_true") > 0) & ~np.isnan(aji))
    by_aji = defined[np.lexsort((np.array(decoder.tile_id)[defined], aji[defined]))]  # worst first
    rows_of = _ranked(by_aji, min(per_rank, max(1, len(by_aji) // len(RANKS))))
    return tuple(_chosen(tiles, int(row), rank) for rank in RANKS for row in rows_of[rank])


def exhibit(chosen: Chosen, rerun: Rerun) -> Exhibit:
    """The pictures of a tile."""
    return Exhibit(
        chosen=chosen,
        overlays=(
            _overlay(rerun, rerun.truth, f"Truth: {_nuclei(chosen.n_true)}"),
            _overlay(rerun, rerun.found, f"Prediction: {_nuclei(rerun.n_found)}"),
        ),
        maps=_maps(rerun),
        remark=_remark(chosen, rerun),
    )


def _ranked(by_aji: Int64[np.ndarray, " n"], count: int) -> dict[str, list[int]]:
    best, worst = by_aji[::-1][:count].tolist(), by_aji[:count].tolist()
    middle = by_aji[(len(by_aji) - count + 1) // 2 :][:count][::-1].tolist()
    taken: set[int] = set()
    rows: dict[str, list[int]] = {}
    for rank, found in (("best", best), ("worst", worst), ("median", middle)):
        rows[rank] = [row for row in found if row not in taken]
        taken.update(found)
    return rows


def _chosen(tiles: Mapping[str, TileScores], row: int, rank: str) -> Chosen:
    decoder = tiles["decoder"]
    tile_id = decoder.tile_id[row]
    aji = {
        system: float(judged.column("aji")[judged.tile_id.index(tile_id)])
        for system, judged in tiles.items()
        if tile_id in judged.tile_id
    }
    n_true, n_found = (int(decoder.column(name)[row]) for name in ("n_true", "n_found"))
    return Chosen(tile_id, decoder.organ[row], rank, n_true, n_found, aji)


def _overlay(rerun: Rerun, found: Segmentation, caption: str) -> Picture:
    uri = overlay_png(rerun.image, found.instances, found.classes)
    alt = f"H&E tile {rerun.tile_id} with contours by class. {caption}"
    return Picture(uri, caption, alt, side_px=2 * len(found.instances))


def _maps(rerun: Rerun) -> tuple[Picture, ...]:
    tile_id, side = rerun.tile_id, len(rerun.np_prob)
    nuclear = rerun.np_prob >= rerun.np_threshold
    np_uri = colour_mapped_png(rerun.np_prob, colour_map=NP_COLOURS, low=0, high=1)
    pictures = [Picture(np_uri, "NP, probability of nucleus", f"NP map of tile {tile_id}", side)]
    for plane, name in zip(rerun.hv, ("horizontal", "vertical"), strict=True):
        uri = colour_mapped_png(_inside(plane, nuclear), colour_map=HV_COLOURS, low=-1, high=1)
        pictures.append(Picture(uri, f"HV, {name}", f"{name.capitalize()} HV map of tile {tile_id}", side))
    nt_uri = class_map_png(rerun.nt_class)
    return (*pictures, Picture(nt_uri, "NT, most probable class", f"NT map of tile {tile_id}", side))


def _inside(plane: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The plane on the mask, NaN elsewhere: HV is trained on nuclei alone and means nothing outside."""
    inside: Float[np.ndarray, "h w"] = np.where(mask, plane, np.nan)
    return inside


def _remark(chosen: Chosen, rerun: Rerun) -> str:
    if rerun.n_found == chosen.n_found:
        return ""
    return (
        f"Decoded again for this picture, the tile has {_nuclei(rerun.n_found)} instead of "
        f"{chosen.n_found}: the evaluation ran on another device or precision."
    )


def _nuclei(count: int) -> str:
    return f"{count} nucleus" if count == 1 else f"{count} nuclei"


def class_swatches() -> tuple[Swatch, ...]:
    """Colours of the classes, background last (it has one in the NT maps alone)."""
    order = (*NUCLEUS_CLASSES, NucleusClass.BACKGROUND)
    return tuple(Swatch(CLASS_NAMES[member], CLASS_COLOURS[member]) for member in order)
