"""Predicted maps of a tile -> nuclei with their classes; imports no torch, so that worker processes start fast."""

import numpy as np
from jaxtyping import Float, Int32

from cellvit.hover.classes import class_map, classify
from cellvit.hover.decode import Watershed, segment_grid
from cellvit.inference.predictions import Segmentation


def segment_tile(
    np_prob: Float[np.ndarray, "h w"],
    hv: Float[np.ndarray, "2 h w"],
    nt_prob: Float[np.ndarray, "c h w"],
    watershed: Watershed,
) -> Segmentation:
    """Nuclei of one tile, each with the class of most of its pixels."""
    ((_, instances),) = segment_grid(np_prob, hv, [watershed])
    typed = classify(instances, nt_prob)
    return Segmentation(instances, class_map(instances, typed.classes), typed.probability)


def one_class(instances: Int32[np.ndarray, "h w"], nucleus_class: int) -> Segmentation:
    """Nuclei that all have the same class, for systems that predict no classes."""
    classes = np.full(instances.max(initial=0), nucleus_class, np.uint8)
    return Segmentation(instances, class_map(instances, classes))
