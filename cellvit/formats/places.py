"""What lies under the name of a file, if it is no file: opening a pipe would wait for good."""

from pathlib import Path


def what_lies_at(path: Path) -> str:
    """What lies at the path in place of a file, for errors; empty if it is a file.

    Examples:
        >>> what_lies_at(Path("/dev/null")), what_lies_at(Path("/")), what_lies_at(Path("/no such folder"))
        ('a pipe, a socket or a device', 'a folder', 'nothing')
    """
    if path.is_file():
        return ""
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe, a socket or a device"
    return "a link that leads to no file" if path.is_symlink() else "nothing"
