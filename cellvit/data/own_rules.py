"""What is dropped or changed while own data are read, in words: rules of the images, of all readers,
of the description, and of the cutting into tiles."""

from typing import Final

from cellvit.data.annotations.raster_rules import RASTER_RULES
from cellvit.data.annotations.rules import RULES

OWN_RULES: Final = {
    "without_class_file": "images have no file of classes, so that none of their nuclei has a class",
    "unlabelled": "nuclei have no class in the annotation, and became what `unlabelled` in dataset.yaml says",
    "unknown_class": "nuclei have a class that dataset.yaml does not list, and became what `unknown` there says",
    "class_not_annotated": "of these nuclei count nowhere: their pixels are taken as not annotated",
    "alpha": "images have an alpha channel, which is opaque everywhere and was left out",
    "palette": "images have a palette, whose colours were taken",
    "grey": "grey images were read as colour images",
    "nuclei_cut": "nuclei are cut by the border of a tile; each counts once, in the tile that holds most of it",
    "nuclei_vanished": "nuclei are too small to be seen at the resolution of the model, and were left out",
    "nuclei_in_remainder": "nuclei in a last row or column that is too narrow for a tile were left out",
    "px_in_remainder": "pixels in a last row or column that is too narrow for a tile were left out",
    "px_padded": "pixels were added around images smaller than a tile, and count nowhere",
    "tiles_without_annotation": "tiles without any annotated pixel were left out",
    "further_images": "further images in the same file (pages, levels of a pyramid) were left out",
}
"""What was done, to be written after its number."""


def meaning_of(rule: str) -> str:
    """What a rule did, to be written after its number."""
    return (RASTER_RULES | RULES | OWN_RULES).get(rule, rule.replace("_", " "))
