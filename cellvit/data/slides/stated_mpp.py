"""The resolution of a slide: what its file states, unless the user gives another."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cellvit.data.resampling import needs_resampling
from cellvit.data.resolution import Spacing, agreed_mpp
from cellvit.errors import ContractError, SettingsError

GIVEN = "--mpp"


class ChosenMpp(NamedTuple):
    """Micrometres per pixel, where they come from, and what the user should know about it.

    Attributes:
        mpp: None if neither the file nor the user states it.
        source: As "Aperio MPP" or "--mpp"; empty if it is not known.
        notes: Sentences for the report.
    """

    mpp: float | None
    source: str
    notes: tuple[str, ...] = ()


def chosen_mpp(path: Path, stated: Mapping[str, Spacing], given: float | None) -> ChosenMpp:
    """The user's resolution if there is one, else the one that the file states.

    Args:
        stated: Micrometres per pixel by the place where the file states them.
        given: What the user gave.

    Raises:
        SettingsError: The given resolution is not a positive number.
        ContractError: No resolution is given, and the file contradicts itself.
    """
    if given is None:
        try:
            return ChosenMpp(*agreed_mpp(path, stated))
        except ContractError as error:
            raise ContractError(f"{error} Or give the resolution that is right: {GIVEN} NUMBER.") from error
    if not (math.isfinite(given) and given > 0):
        raise SettingsError(
            f"{GIVEN}: expected micrometres per pixel, a positive number, found {given}. Fix: {GIVEN} 0.25"
        )
    return ChosenMpp(given, GIVEN, _notes(stated, given))


def _notes(stated: Mapping[str, Spacing], given: float) -> tuple[str, ...]:
    """A sentence if the file states another resolution than the user."""
    values = {f"{value:.4g}" for spacing in stated.values() for value in spacing if _differs(value, given)}
    if not values:
        return ()
    return (
        f"The file states {' and '.join(sorted(values))} um per pixel ({', '.join(stated)}), {GIVEN} states {given:.4g}: "
        f"{given:.4g} is used.",
    )


def _differs(value: float, given: float) -> bool:
    return not (math.isfinite(value) and value > 0) or needs_resampling(value, given)
