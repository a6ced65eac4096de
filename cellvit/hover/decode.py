"""NP and HV maps of a tile -> nuclei, by one of two methods."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, cast

import numpy as np
from jaxtyping import Float, Int32

from cellvit.errors import SettingsError
from cellvit.hover.checks import check_maps
from cellvit.hover.flow import flow_decoder
from cellvit.hover.hovernet import hovernet_decoder
from cellvit.hover.parameters import HoverNetWatershed, HvFlow, parameters_of

Method = Literal["hovernet", "hv_flow"]
"""HoVer-Net's published post-processing, or the following of the HV maps to centres."""

Watershed = HoverNetWatershed | HvFlow
"""Parameters of one method; their type says which method."""

METHODS: Final[Mapping[Method, type[Watershed]]] = MappingProxyType({"hovernet": HoverNetWatershed, "hv_flow": HvFlow})
"""Type of the parameters of each method."""


def segment(
    np_prob: Float[np.ndarray, "h w"],
    hv: Float[np.ndarray, "2 h w"],
    *,
    method: Method = "hovernet",
    **parameters: float,
) -> Int32[np.ndarray, "h w"]:
    """Nuclei of one tile: labels 1..n without gaps, 0 is background.

    ``hovernet`` is the post-processing of Graham et al. 2019 (`cellvit.hover.hovernet`). ``hv_flow`` follows the maps
    to the centres that they point to (`cellvit.hover.flow`); it separates more touching nuclei and tolerates more
    noise (docs/decoding.md).

    Args:
        np_prob: Probability of nucleus, 0..1.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        method: Which method decodes the maps.
        parameters: Fields of `HoverNetWatershed` or `HvFlow` (`cellvit.hover.parameters`) that differ from the
            defaults.

    Raises:
        SettingsError: Unknown method or parameter, or a parameter out of its limits.
        ContractError: The maps differ in size or are not finite, or `np_prob` is not a probability.

    Examples:
        >>> np_prob, hv = np.ones((1, 6)), np.array([[[-1, 0, 1, -1, 0, 1]], [[0] * 6]])
        >>> segment(np_prob, hv.astype(float), method="hv_flow", min_object_px=1, min_gain_px=1)
        array([[1, 1, 1, 2, 2, 2]], dtype=int32)
    """
    ((_, labels),) = segment_grid(np_prob, hv, [watershed_of_method(method, parameters)])
    return labels


def segment_grid(
    np_prob: Float[np.ndarray, "h w"], hv: Float[np.ndarray, "2 h w"], grid: Sequence[Watershed]
) -> Iterator[tuple[Watershed, Int32[np.ndarray, "h w"]]]:
    """Yield the result of `segment` for each set of parameters; steps that several sets share run once.

    Raises:
        ContractError: The maps differ in size or are not finite, or `np_prob` is not a probability.
    """
    check_maps(np_prob, hv)
    np_prob, hv = np.ascontiguousarray(np_prob, np.float32), np.ascontiguousarray(hv, np.float32)
    by_hovernet, by_flow = hovernet_decoder(np_prob, hv), flow_decoder(np_prob, hv)
    for chosen in grid:
        match chosen:
            case HoverNetWatershed():
                yield chosen, by_hovernet(chosen)
            case HvFlow():
                yield chosen, by_flow(chosen)


def watershed_of_method(method: str, parameters: Mapping[str, float]) -> Watershed:
    """Parameters of a method by name; the others have their defaults.

    Raises:
        SettingsError: Unknown method or parameter, or a parameter out of its limits.
    """
    if method not in METHODS:
        raise SettingsError(f"unknown watershed method {method!r}; the methods are {', '.join(METHODS)}.")
    return parameters_of(METHODS[cast(Method, method)], method, parameters)


def method_of(watershed: Watershed) -> Method:
    """Name of the method whose parameters these are."""
    return next(method for method, kind in METHODS.items() if isinstance(watershed, kind))
