"""What a path is if it is not a file, for errors; a pipe must not be opened, because reading it would never end."""

from pathlib import Path


def not_a_file(path: Path) -> str:
    """What the path is, in words; empty if it is a file or a link to a file.

    Examples:
        >>> not_a_file(Path("/dev/null")), not_a_file(Path("/")), not_a_file(Path("/no such folder"))
        ('a pipe, a socket or a device', 'a folder', 'nothing')
    """
    if path.is_file():
        return ""
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe, a socket or a device"
    return "a link that leads to no file" if path.is_symlink() else "nothing"
