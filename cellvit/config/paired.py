"""Lists of the command line whose entries belong together, one by one."""

import argparse

from cellvit.errors import SettingsError


def check_paired(args: argparse.Namespace, first: str, *others: str) -> None:
    """Refuse lists of other lengths than that of `first`; options are named as in the rules, with underscores.

    Examples:
        >>> check_paired(argparse.Namespace(tiles=["1.h5", "2.h5"], features=["1.h5", "2.h5"]), "tiles", "features")

    Raises:
        SettingsError: A list has another length.
    """
    expected = len(getattr(args, first))
    for other in others:
        if (found := len(getattr(args, other))) != expected:
            one, each = (f"--{name.replace('_', '-')}" for name in (other, first))
            raise SettingsError(
                f"{one} must have one entry for each of {each}, in the same order: {expected} expected, found {found}"
            )
