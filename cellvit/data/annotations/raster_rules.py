"""Names of the rules by which arrays of pixels are read, each with its meaning. Names that outlines also have mean the same."""

from typing import Final

RASTER_RULES: Final = {
    "several_parts": "nuclei have several parts, which are one nucleus",
    "tiny": "nuclei have fewer than ten pixels; they were kept",
    "missing_ids": "ids between 1 and the largest one have no nucleus; the nuclei were numbered again without gaps",
    "cut_by_border": "nuclei are cut by the border of the image",
    "duplicates": "nuclei with exactly the pixels of another were left out",
    "overlapping": "nuclei lost pixels to others that overlap them",
    "covered": "nuclei that others cover completely were left out",
    "px_in_several": "pixels are in several nuclei; one of these has them",
    "empty_masks": "masks without a nucleus were left out",
    "several_classes": "nuclei have pixels of several classes; the class of most pixels was taken",
    "partly_without_class": "nuclei have pixels without a class; the class of the others was taken",
    "without_class": "nuclei have no class",
    "class_px_outside": "pixels have a class but no nucleus",
    "class_contradictions": "nuclei have another class in type_map than in the list of classes, which was taken",
    "ids_without_nucleus": "ids of the table of classes are not in the map",
    "background_contradictions": "pixels of the background channel contradict the nuclei, which were taken",
    "not_annotated": "nuclei with their centre in a region that is not annotated were left out",
}
"""What was done, to be written after its number."""
