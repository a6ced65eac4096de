"""Parameters of the two methods that decode nuclei from maps, and of the classical baseline, with their limits."""

import dataclasses
from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Any, Final, TypeVar

from cellvit.errors import SettingsError

LIMITS: Final = MappingProxyType(
    {
        "np_threshold": (0, 1),
        "hv_threshold": (0, 1),
        "min_fit": (0, 1),
        "min_gain_px": (0, inf),
        "min_object_px": (0, inf),
        "min_marker_px": (0, inf),
        "opening_px": (1, inf),
        "window_px": (3, inf),
        "sobel_px": (3, 31),  # the largest Sobel kernel of OpenCV
        "otsu_factor": (0, inf),
        "smoothing_px": (0, inf),
        "min_distance_px": (1, inf),
    }
)
"""Smallest and largest value of each parameter."""

_ODD: Final = frozenset({"sobel_px", "window_px"})
"""Sides of kernels that need a centre pixel."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HoverNetWatershed:
    """Parameters of HoVer-Net's watershed; the defaults are the published ones.

    Attributes:
        np_threshold: A pixel is nuclear from this probability on, 0..1. A higher value gives fewer and smaller nuclei.
        hv_threshold: A nuclear pixel belongs to a marker below this border energy, 0..1 after scaling to the range of
            the tile. A lower value gives smaller markers, separates more touching nuclei, and loses more small nuclei.
        min_object_px: Smaller connected pieces of the nuclear mask are dropped; area in pixels.
        min_marker_px: Smaller markers are dropped, and the nuclei that they would seed with them; area in pixels.
        sobel_px: Side of the Sobel kernel in pixels, odd, 3 to 31. A larger kernel gives smoother energy and fewer
            false borders in noisy maps, but weaker borders between small nuclei.
        opening_px: Diameter in pixels of the ellipse of the morphological opening of the markers; 1 does not change
            them. A larger ellipse cuts wider bridges between markers and removes more small markers.

    Raises:
        SettingsError: A parameter is out of its limits.
    """

    np_threshold: float = 0.5
    hv_threshold: float = 0.4
    min_object_px: int = 10
    min_marker_px: int = 10
    sobel_px: int = 21
    opening_px: int = 5

    def __post_init__(self) -> None:
        _check_limits(self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HvFlow:
    """Parameters of `hv_flow`; docs/decoding.md reports how they were measured.

    Attributes:
        np_threshold: A pixel is nuclear from this probability on, 0..1. A higher value gives fewer and smaller nuclei.
        min_gain_px: Two neighbouring pieces stay separate if the cut between them explains at least this much more of
            the HV maps, 0 or more, in pixels of a perfectly mapped nucleus. A larger value gives fewer cuts.
        min_object_px: A smaller nucleus is joined to the neighbour that fits best, or dropped if it has no neighbour;
            area in pixels.
        min_fit: Nuclei whose fit is below this fraction of the mean fit of the tile are dropped, 0..1. The fit is the
            explained part of the HV maps per pixel. A larger value drops more nuclei that are in the NP map but not
            in the HV map; 0 drops none.
        window_px: Side in pixels of the square whose mean is subtracted from the maps before they are followed, odd,
            about the diameter of a nucleus. A smaller window gives more and smaller pieces, and takes more time.

    Raises:
        SettingsError: A parameter is out of its limits.
    """

    np_threshold: float = 0.5
    min_gain_px: float = 5.0
    min_object_px: int = 10
    min_fit: float = 0.5
    window_px: int = 25

    def __post_init__(self) -> None:
        _check_limits(self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Classical:
    """Parameters of the classical baseline; the defaults are common choices for 40x.

    Attributes:
        otsu_factor: A pixel is nuclear from this multiple of Otsu's threshold of the hematoxylin density on. A higher
            value gives fewer and smaller nuclei.
        smoothing_px: Standard deviation of the Gaussian filter of the density and of the distance to the edge. A larger
            value gives smoother outlines and fewer cuts.
        opening_px: Radius of the disc of the morphological opening, which removes threads and specks from the mask.
        min_object_px: Smaller pieces of the mask are dropped, and smaller holes are filled; area in pixels.
        min_distance_px: Smallest distance between two seeds, about half the diameter of the smallest nucleus. A larger
            value gives fewer cuts.

    Raises:
        SettingsError: A parameter is out of its limits.
    """

    otsu_factor: float = 1.0
    smoothing_px: float = 1.0
    opening_px: int = 2
    min_object_px: int = 30
    min_distance_px: int = 5

    def __post_init__(self) -> None:
        _check_limits(self)


Parameters = TypeVar("Parameters", bound=HoverNetWatershed | HvFlow | Classical)


def parameters_of(kind: type[Parameters], method: str, given: Mapping[str, float]) -> Parameters:
    """Parameters of a kind by name, as documents record them; the others have their defaults.

    Args:
        method: Name of the method in messages.

    Raises:
        SettingsError: A parameter is unknown, not a whole number where it must be one, or out of its limits.
    """
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    if unknown := sorted(set(given) - set(types)):
        raise SettingsError(f"unknown {method} parameters {', '.join(unknown)}; the parameters are {', '.join(types)}.")
    parameters: dict[str, Any] = dict(given)
    for name, value in given.items():
        if types[name] is int:
            parameters[name] = int(value)
            if value != parameters[name]:
                raise SettingsError(f"watershed parameter {name} must be a whole number, found {value}.")
    return kind(**parameters)


def _check_limits(parameters: HoverNetWatershed | HvFlow | Classical) -> None:
    for field in dataclasses.fields(parameters):
        name, value = field.name, getattr(parameters, field.name)
        (low, high), odd = LIMITS[name], name in _ODD
        if not low <= value <= high or (odd and value % 2 != 1):  # NaN fails the first comparison
            expected = "odd, " * odd + (f"{low} or more" if high == inf else f"from {low} to {high}")
            raise SettingsError(f"watershed parameter {name} must be {expected}, found {value}.")
