"""Scale bars: a round length that fits, in words."""

from typing import Final, NamedTuple

import numpy as np

_STEPS: Final = (1, 2, 5)
"""First digits of the length of a scale bar and of the end of a colour bar."""


_SHARE: Final = 0.35
"""Greatest length of the bar, as a share of the width of the image."""


class ScaleBar(NamedTuple):
    """Length of a scale bar in pixels of the image, and in words."""

    px: float
    text: str


def scale_bar(mpp: float, width_px: int) -> ScaleBar:
    """A bar of a round length for an image of this width and resolution.

    Examples:
        >>> scale_bar(0.25, 256)
        ScaleBar(px=80.0, text='20 µm')
    """
    length_um = round_below(mpp * width_px * _SHARE)
    return ScaleBar(length_um / mpp, length_text(length_um))


def round_below(value: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 and so on that is not above the value.

    Examples:
        >>> round_below(730), round_below(0.3), round_below(20)
        (500, 0.2, 20)
    """
    power: float = 10 ** int(np.floor(np.log10(value) + 1e-9))
    step = max((one for one in _STEPS if one * power <= value * (1 + 1e-9)), default=1)
    return round(step * power, 12)


def length_text(um: float) -> str:
    """A length in um or mm.

    Examples:
        >>> length_text(500), length_text(2000), length_text(0.5)
        ('500 µm', '2 mm', '0.5 µm')
    """
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"
