"""The package `cellvit` of PyPI, which has nothing to do with cellvit-optimus: both install a folder of the name cellvit."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple


class Namesake(NamedTuple):
    """The other package, where it is installed too.

    Attributes:
        message: What is wrong, and the fix.
        mixed: True if its files are in the folder of this package, so that each may have replaced some of the other's.
    """

    message: str
    mixed: bool


def namesake() -> Namesake | None:
    """The other package that this Python finds; None if there is none."""
    try:
        other = distribution("cellvit")
    except PackageNotFoundError:
        return None
    folder = Path(str(other.locate_file("cellvit"))).resolve()
    mixed = folder == Path(__file__).parent.resolve()
    harm = f"its files in {folder} are mixed with those of cellvit-optimus" if mixed else "one hides the other"
    message = (
        f"this Python has the package cellvit {other.version} of PyPI, which has nothing to do with cellvit-optimus; {harm}. "
        "Fix: pip uninstall cellvit, then install cellvit-optimus again (pip install --force-reinstall --no-deps "
        "cellvit-optimus), or give it a virtual environment of its own."
    )
    return Namesake(message, mixed)
