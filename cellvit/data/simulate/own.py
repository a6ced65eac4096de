"""A simulated data set of another kind than PanNuke's: brain, 512 px at 20x, three classes, outlines as QuPath writes them.

It is a folder as a user has one: images, GeoJSON files, `tiles.csv` and `dataset.yaml`. In one image a corner is not
annotated, and marked so.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import yaml
from jaxtyping import Bool, Int32, UInt8
from PIL import Image
from skimage.measure import find_contours

from cellvit.data.pannuke import SIMULATED_MARK
from cellvit.data.simulate.architecture import Architecture
from cellvit.data.simulate.organs import Organ
from cellvit.data.simulate.tile import SMALLEST_PX, simulate_image
from cellvit.errors import ContractError
from cellvit.formats.atomic import replacing, write_text
from cellvit.taxonomy import NUCLEUS_CLASSES, TILE_MPP, NucleusClass

IMAGE_PX: Final = 512
IMAGE_MPP: Final = 0.5
IMAGES_PER_PATIENT: Final = 2

CLASSES: Final[Mapping[str, tuple[str, frozenset[NucleusClass]]]] = {
    "Tumour": ("#d81b60", frozenset({NucleusClass.NEOPLASTIC})),
    "Lymphocyte": ("#1e88e5", frozenset({NucleusClass.INFLAMMATORY})),
    "Other": ("#ffc107", frozenset({NucleusClass.CONNECTIVE, NucleusClass.DEAD, NucleusClass.EPITHELIAL})),
}
"""Colour of each class, and the simulated nuclei that are in it."""

_BRAIN: Final = Organ(  # a fibrillary background with scattered cells, or a sheet of tumour
    hematoxylin=(0.02, 0.00, 0.06),
    eosin=(0.04, -0.04, 0.02),
    strengths=(1.0, 0.85),
    architectures={Architecture.SHEET: 3, Architecture.NESTS: 3, Architecture.STROMA: 2},
    malignant=0.75,
    cell_px=2400,
    nuclear_scale=0.85,
    cytoplasm=(0.10, 0.45),
    vacuoles=0.04,
    fibroblasts=0.7,
    collagen=0.50,
    fibre_px=(70, 5),
    clefts=0.10,
    inflammation=1.5,
    blood=0.25,
    pigment=0.02,
)
_NOTICE: Final = (
    "Simulated by cellvit simulate_dataset: no patient, no tissue. Values from it say nothing about real data."
)
_SCALE: Final = round(IMAGE_MPP / TILE_MPP)
_NOT_ANNOTATED_PX: Final = 160
"""Side of the corner of the first image that is not annotated."""


class SimulatedImage(NamedTuple):
    """One image with its outlines, as a GeoJSON document."""

    name: str
    image: UInt8[np.ndarray, "h w 3"]
    annotation: dict[str, Any]


def write_own_data(root: Path, *, n_images: int, seed: int, progress: Callable[[int], None] = lambda _: None) -> None:
    """Write the folder, image by image, and call `progress` after each with the number of images so far.

    The same seed and number of images give the same files.

    Raises:
        ContractError: The folder has files and no mark of a simulation: these may be real data.
    """
    if root.exists() and any(root.iterdir()) and not (root / SIMULATED_MARK).exists():
        raise ContractError(
            f"{root}: expected an empty folder, or one with the mark {SIMULATED_MARK}, found files without that mark. They "
            "may be real data and are not overwritten. Fix: choose another folder."
        )
    write_text(root / SIMULATED_MARK, json.dumps({"simulated": True, "notice": _NOTICE, "seed": seed}, indent=1) + "\n")
    names = []
    for number, made in enumerate(_images(n_images, seed), 1):
        names.append(made.name)
        path = root / "images" / f"{made.name}.png"
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            Image.fromarray(made.image).save(temporary, format="png")
        write_text(root / "annotations" / f"{made.name}.geojson", json.dumps(made.annotation))
        progress(number)
    write_text(root / "tiles.csv", _tiles_csv(names))
    write_text(root / "dataset.yaml", yaml.safe_dump(_description(), sort_keys=False))


def _images(n_images: int, seed: int) -> Iterator[SimulatedImage]:
    for number in range(n_images):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        large, labels = simulate_image(_BRAIN, IMAGE_PX * _SCALE, rng)
        image = cv2.resize(large, (IMAGE_PX, IMAGE_PX), interpolation=cv2.INTER_AREA)
        patient, place = divmod(number, IMAGES_PER_PATIENT)
        annotation = _annotation(labels, not_annotated=number == 0)
        yield SimulatedImage(f"patient{patient + 1:02}_{place + 1}", np.asarray(image, np.uint8), annotation)


def _annotation(labels: Int32[np.ndarray, "5 h w"], *, not_annotated: bool) -> dict[str, Any]:
    """Outlines of the nuclei, without those in the corner that is not annotated."""
    features = []
    if not_annotated:
        side = float(_NOT_ANNOTATED_PX)
        corner = [[0.0, 0.0], [side, 0.0], [side, side], [0.0, side], [0.0, 0.0]]
        features.append(_feature(corner, "Ignore*", "#b4b4b4"))
    for name, (color, kinds) in CLASSES.items():
        for plane in (labels[NUCLEUS_CLASSES.index(kind)] for kind in sorted(kinds)):
            for label in np.flatnonzero(np.bincount(plane[plane > 0]) >= SMALLEST_PX * _SCALE**2):
                outline = _outline(plane == label)
                inside = np.mean(outline, axis=0).max() < _NOT_ANNOTATED_PX
                if not (not_annotated and inside):
                    features.append(_feature(outline, name, color))
    return {"type": "FeatureCollection", "features": features}


def _outline(nucleus: Bool[np.ndarray, "h w"]) -> list[list[float]]:
    """Longest outline of a nucleus in pixels of the small image, closed; the centre of its first pixel is at (0.5, 0.5)."""
    rows, columns = np.flatnonzero(nucleus.any(1)), np.flatnonzero(nucleus.any(0))
    window = np.pad(nucleus[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    longest = max(find_contours(window.astype(np.float32), 0.5), key=len)
    corner = (columns[0] - 0.5, rows[0] - 0.5)  # one pixel of padding; pixel centres are at .5
    return [[float(x), float(y)] for x, y in np.round((longest[:, ::-1] + corner) / _SCALE, 2)]


def _feature(outline: list[list[float]], name: str, color: str) -> dict[str, Any]:
    """An annotation as QuPath exports it."""
    rgb = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [outline]},
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": rgb}},
    }


def _tiles_csv(names: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "annotation", "organ", "patient"])
    writer.writerows(
        [f"images/{name}.png", f"annotations/{name}.geojson", "Brain", name.split("_")[0]] for name in names
    )
    return text.getvalue()


def _description() -> dict[str, Any]:
    return {
        "name": "Simulated brain",
        "mpp": IMAGE_MPP,
        "classes": [{"name": name, "color": color} for name, (color, _) in CLASSES.items()],
        "unlabelled": "error",
        "unknown": "error",
        "licence": "CC0-1.0",
        "commercial_use": True,
        "annotations": {"kind": "geojson"},
    }
