"""How the annotations of a data set are to be read: what no file can say of itself."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "label-map",
    "masks",
    "matlab",
    "geojson",
    "imagescope",
    "coco",
    "imagej",
    "cellpose",
    "pannuke",
    "conic",
    "cellvit",
]
"""Formats of annotations that can be read; docs/annotations.md describes each."""

IGNORED_CLASSES: Final = ("ignore*",)
"""Classes of QuPath that are not nuclei but regions that count nowhere; QuPath itself treats classes named "Ignore*" so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the annotation files of a data set are read.

    Attributes:
        class_file: For label maps: pattern of the file with the classes of one image, beside its annotation, with {name} for
            the name of the annotation without its suffix: a second map (PNG, TIFF, NPY) or a CSV of id and class.
            Empty if there is none.
        value_ranges: For label maps whose ids tell the class: first and last id of each class by its name.
        region_classes: Classes whose outlines enclose the annotated region: outside of all of them nothing counts.
        not_annotated: Classes whose outlines enclose regions that are not annotated; patterns of fnmatch, lower case.
        not_annotated_file: For arrays of pixels: pattern of a binary mask, beside the annotation, that is not 0 where the
            image is not annotated, with {name} as for class_file (NuInsSeg's ambiguous areas). Empty if there is none.
        min_score: Predicted nuclei with a lower score are left out, where the file has scores.
    """

    class_file: str = ""
    value_ranges: tuple[tuple[str, int, int], ...] = ()
    region_classes: tuple[str, ...] = ()
    not_annotated: tuple[str, ...] = IGNORED_CLASSES
    not_annotated_file: str = ""
    min_score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The position of the annotation of one image in its file.

    Attributes:
        member: The image in a file of many: its file name in COCO, its row in an array; empty if the file has one.
        offset: x and y of the image's top left corner in the coordinates of the file, in pixels of the image.
    """

    member: str = ""
    offset: tuple[float, float] = (0.0, 0.0)
