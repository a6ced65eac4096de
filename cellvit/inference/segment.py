"""Predicted maps of a tile -> nuclei with their classes; imports no torch, so that worker processes start fast."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int32

from cellvit.contracts.documents import WatershedChoice
from cellvit.contracts.predictions import Segmentation
from cellvit.hover.decode import HoverNetWatershed, class_map, classify, segment


def segment_tile(
    np_prob: Float[np.ndarray, "h w"],
    hv: Float[np.ndarray, "2 h w"],
    nt_prob: Float[np.ndarray, "6 h w"],
    watershed: HoverNetWatershed,
) -> Segmentation:
    """Nuclei of one tile, each with the class that most of its pixels have."""
    instances = segment(np_prob, hv, **dataclasses.asdict(watershed))
    return Segmentation(instances, class_map(instances, classify(instances, nt_prob).classes))


def one_class(instances: Int32[np.ndarray, "h w"], nucleus_class: int) -> Segmentation:
    """Nuclei that all have the same class, for systems that know no classes."""
    classes = np.full(instances.max(initial=0), nucleus_class, np.uint8)
    return Segmentation(instances, class_map(instances, classes))


def watershed_of(choice: WatershedChoice) -> HoverNetWatershed:
    """The parameters of a choice; those that it does not name keep their published values.

    Raises:
        SettingsError: A value is out of its limits.
    """
    whole = {field.name for field in dataclasses.fields(HoverNetWatershed) if field.type is int}
    parameters = {name: int(value) if name in whole else value for name, value in choice.parameters.items()}
    return dataclasses.replace(HoverNetWatershed(), **parameters)  # type: ignore[arg-type]  # numbers, kinds as declared


def parameters_of(watershed: HoverNetWatershed) -> dict[str, float]:
    """Every parameter by name, as documents hold them."""
    return {name: float(value) for name, value in dataclasses.asdict(watershed).items()}
