"""Slides of real tiles with corrections that a pathologist would export, to measure what fine-tuning on them gains.

    python benchmarks/correction_slides.py data/laboratory --source MoNuSeg

Every patient of the source becomes one slide, on which the tiles lie side by side, and one GeoJSON file with the annotated
nuclei of all tiles and a rectangle of the class Checked around each tile. So the corrections are as good as the annotations
of the source. docs/corrections.md has the commands that follow, and their results. Nuclei of MoNuSeg have no classes and are
written as neoplastic.
"""

import argparse
import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import shapely
from jaxtyping import UInt8
from real_folds import Row, image_of, masks_of

from cellvit.prediction.outlines import polygons_at, traced
from cellvit.taxonomy import BACKGROUND_CHANNEL, CLASS_NAMES, TILE_PX

WHITE: Final = 245
"""Value of the places of a slide that have no tile."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write the slides and the GeoJSON files into")
    parser.add_argument("--source", choices=("CoNSeP", "MoNuSeg"), default="MoNuSeg")
    parser.add_argument("--tiles", type=Path, default=Path("../shared/real_tiles"), help="folder with manifest.csv")
    args = parser.parse_args()
    with (args.tiles / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == args.source]
    args.out.mkdir(parents=True, exist_ok=True)
    for patient in sorted({row["patient"] for row in rows}):
        members = [row for row in rows if row["patient"] == patient]
        cv2.imwrite(str(args.out / f"{patient}.png"), cv2.cvtColor(slide_of(args.tiles, members), cv2.COLOR_RGB2BGR))
        features = [
            one
            for row, at in zip(members, places(len(members)), strict=True)
            for one in objects_of(args.tiles, row, at)
        ]
        (args.out / f"{patient}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        print(f"{patient}: {len(members)} tiles, {len(features) - len(members)} nuclei")


def places(n_tiles: int) -> list[tuple[int, int]]:
    """Left upper corner (x, y) of each tile on a slide that is about as wide as high, in pixels."""
    wide = math.ceil(math.sqrt(n_tiles))
    return [(TILE_PX * (tile % wide), TILE_PX * (tile // wide)) for tile in range(n_tiles)]


def slide_of(tiles: Path, rows: Sequence[Row]) -> UInt8[np.ndarray, "height width 3"]:
    """RGB image with the tiles side by side."""
    corners = places(len(rows))
    width, height = (max(corner[axis] for corner in corners) + TILE_PX for axis in (0, 1))
    slide = np.full((height, width, 3), WHITE, np.uint8)
    for row, (x, y) in zip(rows, corners, strict=True):
        slide[y : y + TILE_PX, x : x + TILE_PX] = image_of(tiles, row)
    return slide


def objects_of(tiles: Path, row: Row, at: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """The nuclei of a tile and the rectangle around it, as QuPath exports them, in pixels of the slide."""
    masks = masks_of(tiles, row)[..., :BACKGROUND_CHANNEL]
    for channel in range(BACKGROUND_CHANNEL):
        instances = masks[..., channel].astype(np.int32)
        if not instances.any():
            continue
        outlines = traced(instances, int(instances.max()))
        for geometry in polygons_at(outlines, outlines.points / 2 + at):
            if not geometry.is_empty:
                yield qupath_object(geometry, CLASS_NAMES[1 + channel], "detection")
    yield qupath_object(shapely.box(*at, at[0] + TILE_PX, at[1] + TILE_PX), "Checked", "annotation")


def qupath_object(geometry: shapely.Geometry, name: str, kind: str) -> dict[str, Any]:
    """A GeoJSON feature of QuPath with a class."""
    properties = {"objectType": kind, "classification": {"name": name, "color": [0, 0, 0]}}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


if __name__ == "__main__":
    main()
