"""Which file the training of a decoder starts from (`training.start_from`)."""

from pathlib import Path

from cellvit.config.settings import Settings
from cellvit.errors import CellvitError
from cellvit.formats.checkpoints import read_header
from cellvit.taxonomy import SHARED_FAMILY, base_family


def start_file(settings: Settings, family: str) -> str:
    """Checkpoint that the settings name as the start of a decoder: in a folder, that of its family, else the shared one.

    A family whose decoder could not be trained has a file without weights, in the folder of a bundle as in that of a run.
    """
    start = settings.of_family(family).training.start_file
    if not start.endswith("/"):
        return start
    own, shared = (f"{start}hovernet_{name}.safetensors" for name in (base_family(family), SHARED_FAMILY))
    usable = Path(own).exists() and not _is_absent(Path(own))
    return own if usable or not Path(shared).exists() else shared


def _is_absent(checkpoint: Path) -> bool:
    """True if the header can be read, and says that there are no weights; the training reports any other fault."""
    try:
        return read_header(checkpoint).status == "absent"
    except CellvitError:
        return False
