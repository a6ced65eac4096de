"""Names of the rules by which nuclei are dropped or changed while annotations are read, each with its meaning."""

from typing import Final

RULES: Final = {
    "closed": "outlines that end where they did not begin were closed",
    "repaired": "outlines that cross or touch themselves were repaired",
    "degenerate": "outlines without an area (fewer than three different points, or all on one line) were left out",
    "holes": "nuclei have holes, which stay empty",
    "several_parts": "nuclei have several parts, which are one nucleus",
    "split": "parts of features that hold all nuclei of a class were taken as one nucleus each",
    "points": "points were left out, because they have no outline",
    "lines": "lines were left out, because they enclose nothing",
    "texts": "texts and pictures were left out, because they are not outlines",
    "splines": "outlines drawn as curves were taken as straight lines between their points",
    "without_outline": "objects without an outline were left out",
    "tiles": "QuPath's tiles and tissue cores were left out, because they are not nuclei",
    "cells_without_nucleus": "cells have no outline of their nucleus, so that of the cell was taken",
    "low_score": "predicted nuclei with a score below min_score were left out",
    "outside": "nuclei outside the image were left out",
    "cut_by_border": "nuclei are cut by the border of the image",
    "too_small": "nuclei that contain no centre of a pixel were left out",
    "duplicates": "nuclei with exactly the pixels and the class of another were left out",
    "duplicates_of_other_class": "nuclei with exactly the pixels of another, but another class: the last in the file was kept",
    "overlapping": "nuclei lost pixels to smaller nuclei that overlap them",
    "covered": "nuclei that smaller ones cover completely were left out",
    "enclosing": "nuclei enclose five or more others: they may be regions that were not named as such",
    "regions": "outlines of annotated regions were read",
    "regions_not_annotated": "outlines of regions that are not annotated were read",
    "outside_regions": "nuclei with their centre outside the annotated regions were left out",
    "not_annotated": "nuclei with their centre in a region that is not annotated were left out",
}
"""What was done, to be written after its number."""
