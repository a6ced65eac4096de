"""The images that a user names: files, folders, and tables of images (CSV)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

from cellvit.data.images import SUFFIXES
from cellvit.data.slides.names import LONGEST, is_safe, names_of
from cellvit.data.slides.opening import SLIDE_SUFFIXES
from cellvit.errors import ContractError, MissingInputError, SettingsError
from cellvit.formats.csv_lines import listed, read_lines, refuse_faults

COLUMNS: Final = ("path", "name", "mpp", "organ", "regions")
"""Columns of a table of images; only the first is required."""

IMAGE_SUFFIXES: Final = tuple(dict.fromkeys((*SUFFIXES, ".j2k", ".btf", *SLIDE_SUFFIXES)))
"""Suffixes of the files that are listed of a folder; a file that is named itself may have any."""

_TABLE: Final = ".csv"
_FIX: Final = f"Fix: edit this file; its columns are {', '.join(COLUMNS)}. docs/predict.md describes them."


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One image to predict.

    Attributes:
        name: Of its folder of results; safe on every file system, unique among all images.
        mpp: Micrometres per pixel as the table states them; None if it does not.
        organ: Empty if the table does not state it.
        regions: GeoJSON file of the analysed regions.
    """

    path: Path
    name: str
    mpp: float | None = None
    organ: str = ""
    regions: Path | None = None


def images_of(given: Sequence[Path]) -> tuple[ImageJob, ...]:
    """The images of files, folders (sorted by name, without their subfolders) and tables, in the order in which they are given.

    Raises:
        MissingInputError: A file or folder does not exist, or a folder has no images.
        ContractError: A table is not valid.
        SettingsError: An image is given twice.
    """
    jobs = [job for path in given for job in _jobs(path)]
    _refuse_repeated(jobs)
    unnamed = [job.path for job in jobs if not job.name]
    names = iter(names_of(unnamed, [job.name for job in jobs if job.name]))
    return tuple(job if job.name else replace(job, name=next(names)) for job in jobs)


def _jobs(given: Path) -> Iterator[ImageJob]:
    """Images of one argument; their name is empty where it is still to be made."""
    if given.is_dir():
        yield from (ImageJob(path, "") for path in _in_folder(given))
    elif not given.exists():
        raise MissingInputError(
            f"{given}: expected an image, a folder or a CSV table of images, found nothing. Fix: correct the name."
        )
    elif given.suffix.lower() == _TABLE:
        yield from _in_table(given)
    else:
        yield ImageJob(given, "")


def _in_folder(folder: Path) -> list[Path]:
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not paths:
        raise MissingInputError(
            f"{folder}: expected images with one of the suffixes {', '.join(IMAGE_SUFFIXES)}, found none; folders inside are not "
            "searched. Fix: name the folder with the images, or list them in a CSV table with the column path."
        )
    dicom = [path for path in paths if path.suffix.lower() == ".dcm"]
    if len(dicom) > 1:
        raise ContractError(
            f"{folder}: found {len(dicom)} DICOM files, and a slide has one for each level of its pyramid, so that they are not "
            f"{len(dicom)} slides. Fix: name one file of each slide, for example {dicom[0]}"
        )
    return paths


def _in_table(table: Path) -> Iterator[ImageJob]:
    lines = read_lines(table, columns=COLUMNS, required=COLUMNS[:1], fix=_FIX)
    refuse_faults(table, [fault for line, row in lines for fault in _faults(line, row)], fix=_FIX)
    jobs = [(line, _job(table.parent, row)) for line, row in lines]
    absent = [
        f"line {line}: {path}"
        for line, job in jobs
        for path in (job.path, job.regions)
        if path is not None and not path.is_file()
    ]
    if absent:
        raise MissingInputError(
            f"{table}: {len(absent)} of the files that it names do not exist:\n  {listed(absent)}\n"
            f"Fix: correct the paths, which begin in {table.parent}, or remove the lines."
        )
    names = sorted((job.name.casefold(), line) for line, job in jobs if job.name)
    groups = (list(group) for _, group in groupby(names, lambda one: one[0]))
    repeated = [f"line {group[1][1]}, name: as in line {group[0][1]}" for group in groups if len(group) > 1]
    refuse_faults(table, repeated, fix=_FIX)
    yield from (job for _, job in jobs)


def _faults(line: int, row: Mapping[str, str]) -> Iterator[str]:
    if not row["path"]:
        yield f"line {line}, path: expected a path, found nothing"
    if (name := row.get("name")) and not is_safe(name):
        yield (
            f"line {line}, name: expected letters, digits, '.', '_' and '-' (neither of '.' and '-' first, {LONGEST} at most), "
            f"found {name!r}"
        )
    if (mpp := row.get("mpp")) and not _is_positive(mpp):
        yield f"line {line}, mpp: expected micrometres per pixel, a positive number, found {mpp!r}"


def _is_positive(text: str) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return math.isfinite(number) and number > 0


def _job(root: Path, row: Mapping[str, str]) -> ImageJob:
    return ImageJob(
        path=root / row["path"],
        name=row.get("name", ""),
        mpp=float(row["mpp"]) if row.get("mpp") else None,
        organ=row.get("organ", ""),
        regions=root / row["regions"] if row.get("regions") else None,
    )


def _refuse_repeated(jobs: Sequence[ImageJob]) -> None:
    """An image may occur twice only under names that the user gave."""
    seen: dict[object, ImageJob] = {}
    for job in jobs:
        for key in (job.name.casefold(), None if job.name else job.path.resolve()):
            if key and seen.setdefault(key, job) is not job:
                raise SettingsError(
                    f"{job.path}: this image is given twice, or two images have the name {job.name!r}. Fix: give it once, or list "
                    "the images in a CSV table with different names in the column name."
                )
