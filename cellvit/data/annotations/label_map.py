"""Label maps: one id for each nucleus. Their classes come from a second map, a table, or ranges of ids."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.labels import Ids, annotation_of_ids, classes_of_most_pixels
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.pixel_maps import check_single, companion, not_annotated_region, read_map
from cellvit.data.opening import check_file, readable
from cellvit.errors import ContractError

_TABLE: Final = "a table with the columns id and class (CSV in UTF-8)"
_DELIMITERS: Final = ",;\t"
_LONGEST_ID: Final = 15  # digits, so that it stays below 2**53


def read_label_map(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of a label map (PNG, TIFF or NPY), in the order of their ids.

    Raises:
        MissingInputError: The map or the file of its classes does not exist.
        ContractError: One of them is damaged, of another shape, or not what it should be.
    """
    check_single(path, place)
    ids = read_map(path, shape)
    counts: Counter[str] = Counter()
    classes = _classes(path, ids, options, counts)
    return annotation_of_ids(path, ids, classes, counts, not_annotated_region(path, shape, options))


def _classes(path: Path, ids: Ids, options: Options, counts: Counter[str]) -> dict[int, str]:
    if options.class_file and options.value_ranges:
        raise ContractError(
            f"{path}: expected classes from class_file or from value_ranges, found both. Fix: remove one of them."
        )
    if options.value_ranges:
        return _classes_of_ranges(ids, options.value_ranges)
    if not options.class_file:
        return {}
    source = companion(path, options.class_file, option="class_file")
    if source.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _classes_of_table(source, ids, counts)
    return classes_of_most_pixels(source, ids, read_map(source, ids.shape, what="a map of classes"), counts)


def _classes_of_ranges(ids: Ids, ranges: Sequence[tuple[str, int, int]]) -> dict[int, str]:
    ordered = sorted(ranges, key=lambda entry: entry[1])
    for name, first, last in ordered:
        if not 0 < first <= last:
            raise ContractError(
                f"value_ranges: {name!r} must have a first id from 1 up to its last, found {first} to {last}."
            )
    for (name, _, last), (other, first, _) in pairwise(ordered):
        if first <= last:
            raise ContractError(
                f"value_ranges: expected ranges without common ids, found {name!r} up to {last} and {other!r} from {first}. "
                "Fix: correct the ranges."
            )
    own = [number for number in np.unique(ids).tolist() if number]
    return {number: next((name for name, first, last in ordered if first <= number <= last), "") for number in own}


def _classes_of_table(path: Path, ids: Ids, counts: Counter[str]) -> dict[int, str]:
    check_file(path, _TABLE)
    with readable(path, _TABLE), path.open(encoding="utf-8-sig", newline="") as file:
        classes = _entries(path, file)
    own = {number for number in np.unique(ids).tolist() if number}
    counts["ids_without_nucleus"] += len(classes.keys() - own)
    # An empty class is one that is missing, also for the only nucleus of a map.
    return {number: classes.get(number, "") for number in own}


class _Columns(NamedTuple):
    delimiter: str
    id: int
    name: int


def _entries(path: Path, lines: Iterable[str]) -> dict[int, str]:
    iterator = iter(lines)
    columns = _columns(path, next(iterator))
    classes: dict[int, str] = {}
    for number, row in enumerate(csv.reader(iterator, delimiter=columns.delimiter, strict=True), start=2):
        if not any(cell.strip() for cell in row):
            continue
        text = row[columns.id].strip() if len(row) > columns.id else ""
        if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_ID) or len(row) <= columns.name:
            raise ContractError(
                f"{path}: row {number} must have a whole number as id, and a class, found {row}. Fix: correct the row."
            )
        if int(text) in classes:
            raise ContractError(
                f"{path}: row {number} gives id {text} a second time. Fix: keep one row for each nucleus."
            )
        classes[int(text)] = row[columns.name].strip()
    return classes


def _columns(path: Path, header: str) -> _Columns:
    for delimiter in _DELIMITERS:
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if names.count("id") == 1 and names.count("class") == 1:
            return _Columns(delimiter, names.index("id"), names.index("class"))
    raise ContractError(
        f"{path}: expected {_TABLE}, found the first line {header.strip()[:80]!r}. "
        "Fix: name the columns in the first line: id,class."
    )
