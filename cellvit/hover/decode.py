"""NP and HV maps of a tile -> nuclei, by one of two methods."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import numpy as np
from jaxtyping import Float, Int32

from cellvit.errors import SettingsError
from cellvit.hover.flow import HvFlow, flow_decoder
from cellvit.hover.hovernet import HoverNetWatershed, hovernet_decoder
from cellvit.hover.limits import check_maps

Method = Literal["hovernet", "hv_flow"]
"""Ways from maps to nuclei: HoVer-Net's published post-processing, and ours."""

Watershed = HoverNetWatershed | HvFlow
"""Parameters of a method, which say the method too."""

METHODS: Final[Mapping[Method, type[Watershed]]] = MappingProxyType({"hovernet": HoverNetWatershed, "hv_flow": HvFlow})
"""The parameters of each method."""


def segment(
    np_prob: Float[np.ndarray, "h w"],
    hv: Float[np.ndarray, "2 h w"],
    *,
    method: Method = "hovernet",
    **parameters: float,
) -> Int32[np.ndarray, "h w"]:
    """Nuclei of one tile: labels 1..n without gaps, 0 is background.

    ``hovernet`` is the post-processing of Graham et al. 2019, with `parameters` of `cellvit.hover.hovernet`, the
    published ones by default. ``hv_flow`` follows the maps to the centres they point to, with `parameters` of
    `cellvit.hover.flow`; it keeps more of touching nuclei apart, and stands noise better (docs/decoding.md).

    Args:
        np_prob: Probability of nucleus, 0..1.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.

    Raises:
        SettingsError: Unknown method or parameter, or a parameter out of its limits.
        ContractError: The maps differ in size or are not finite, or `np_prob` is no probability.

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
    """Yield what `segment` finds with each set of parameters; steps that sets have in common run once.

    Raises:
        ContractError: The maps differ in size or are not finite, or `np_prob` is no probability.
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
    """The parameters of a method by name; those that are not given keep their defaults.

    Raises:
        SettingsError: Unknown method or parameter, or a parameter out of its limits.
    """
    if method not in get_args(Method):
        raise SettingsError(f"unknown watershed method {method!r}; there are: {', '.join(get_args(Method))}.")
    kind = METHODS[method]  # type: ignore[index]  # checked above
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    if unknown := sorted(set(parameters) - set(types)):
        raise SettingsError(f"unknown {method} parameters {', '.join(unknown)}; there are: {', '.join(types)}.")
    whole = {name: value for name, value in parameters.items() if types[name] is int}
    for name, value in whole.items():
        if value != int(value):
            raise SettingsError(f"watershed parameter {name} must be a whole number, found {value}.")
    given: dict[str, Any] = {**parameters, **{name: int(value) for name, value in whole.items()}}
    return kind(**given)


def method_of(watershed: Watershed) -> Method:
    """Name of the method whose parameters these are."""
    return next(method for method, kind in METHODS.items() if isinstance(watershed, kind))
