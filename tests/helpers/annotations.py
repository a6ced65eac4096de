"""Tiles of which a part is not annotated."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.tiles import TileBatch
from cellvit.hover.relabel import relabel


def without_annotation(columns_of: Mapping[int, slice]) -> Callable[[TileBatch], TileBatch]:
    """Takes the annotation of these columns from the tiles of these rows; the others stay as they are."""

    def change(batch: TileBatch) -> TileBatch:
        instances, classes = batch.instances.copy(), batch.classes.copy()
        for row, columns in columns_of.items():
            instances[row, :, columns], classes[row, :, columns] = 0, NOT_ANNOTATED
            instances[row] = relabel(instances[row])
        return dataclasses.replace(batch, instances=instances, classes=classes)

    return change


RIGHT = slice(128, 256)
WHOLE = slice(0, 256)


def inked(batch: TileBatch) -> TileBatch:
    """The same tiles with dark noise over all that is not annotated."""
    ink = np.random.default_rng(5).integers(0, 60, batch.image.shape, dtype=np.uint8)
    unknown = (batch.classes == NOT_ANNOTATED)[..., None]
    return dataclasses.replace(batch, image=np.where(unknown, ink, batch.image))
