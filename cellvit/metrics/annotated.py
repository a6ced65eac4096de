"""The part of a prediction that is compared with a partly annotated ground truth."""

import numpy as np
from jaxtyping import Bool

from cellvit.hover.relabel import renumber
from cellvit.metrics.instances import InstanceMap, check_ids, check_instance_map, check_same_shape


def within(prediction: InstanceMap, annotated: Bool[np.ndarray, "h w"]) -> InstanceMap:
    """The predicted nuclei that count, without their pixels that are not annotated; ids are as before.

    A nucleus of which more than half is not annotated is left out: whether it is right cannot be known. Of every other
    one, the pixels that are not annotated are removed.

    Args:
        prediction: Instance ids; 0 is background.
        annotated: False in pixels that count nowhere.

    Raises:
        ContractError: The shapes differ, or `prediction` is not a map of non-negative integers.

    Examples:
        >>> annotated = np.array([[True, True, True, False, False, False]])
        >>> within(np.array([[1, 2, 2, 2, 3, 3]]), annotated)
        array([[1, 2, 2, 0, 0, 0]])
        >>> within(np.array([[0, 0, 5, 5, 5, 0]]), annotated)
        array([[0, 0, 0, 0, 0, 0]])
    """
    check_same_shape("prediction and annotated pixels", prediction, annotated)
    check_instance_map("prediction", prediction)
    check_ids("prediction", prediction)
    if annotated.all():
        return prediction
    labels, number = renumber(prediction.ravel())
    area_px = np.bincount(number, minlength=len(labels) + 1)
    annotated_px = np.bincount(number[annotated.ravel()], minlength=len(labels) + 1)
    counts = 2 * annotated_px >= area_px
    return np.where(counts[number].reshape(prediction.shape) & annotated, prediction, prediction.dtype.type(0))
