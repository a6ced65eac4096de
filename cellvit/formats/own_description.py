"""`dataset.yaml`: what a person says of a folder of annotated images; fields that are still open are refused by name."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Self, get_args, get_origin

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from cellvit.config.base import Section
from cellvit.config.messages import fault_lines
from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.dataset import NOT_ANNOTATED, DataSet, NuclearClass
from cellvit.formats.own_fields import AnnotationFiles, Name, OwnClass
from cellvit.formats.strict_yaml import read_yaml

DESCRIPTION: Final = "dataset.yaml"
"""Name of the file; a folder that contains it is a user's data set."""

OPEN: Final = "?"
"""Value of a field that a person must still fill in."""

COUNTS_NOWHERE: Final = "not annotated"
"""What `unlabelled` and `unknown` say if the pixels of such nuclei count nowhere."""

REFUSED: Final = "error"
"""What `unlabelled` and `unknown` say if there must be no such nuclei."""

_RESERVED: Final = (COUNTS_NOWHERE, REFUSED, "background")


class OwnDescription(Section):
    """What a person says of the data set.

    Attributes:
        mpp: Micrometres per pixel of the images; None if every image's file or tiles.csv states it.
    """

    name: Name = Field(description="name of the data set", examples=["Brain of our laboratory"])
    mpp: Annotated[float, Field(ge=0.05, le=10)] | None = Field(
        description=(
            "micrometres per pixel of the images as they are in the files (scans at 20x have about 0.5, at 40x about 0.25; "
            "QuPath shows it as pixel width in the tab Image); null if every image's file or tiles.csv states it"
        ),
        examples=["0.5"],
    )
    classes: Annotated[tuple[OwnClass, ...], Field(max_length=100)] = Field(
        description="the nuclear classes, in their order in results",
        examples=['[{name: Neuron, color: "#f0e442"}, {name: Glia, color: "#35e0f0"}]'],
    )
    unlabelled: Name = Field(
        default=REFUSED,
        description=(
            f'what a nucleus without a class becomes: the name of a class, "{COUNTS_NOWHERE}" (its pixels count nowhere) '
            f'or "{REFUSED}" (the run stops)'
        ),
        examples=[COUNTS_NOWHERE],
    )
    unknown: Name = Field(
        default=REFUSED,
        description=f'what a nucleus of a class that is not listed becomes: a class, "{COUNTS_NOWHERE}" or "{REFUSED}"',
        examples=[REFUSED],
    )
    licence: str = Field(
        default="",
        description="licence of the images and annotations; models that are trained on them inherit it",
        examples=["CC BY 4.0"],
    )
    commercial_use: bool | None = Field(
        default=None,
        description="does the licence allow commercial use? true, false, or null if that is not known",
        examples=["false"],
    )
    annotations: AnnotationFiles = Field(
        default_factory=AnnotationFiles, description="how the annotation files are read", examples=["{kind: geojson}"]
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if faults := [*_class_faults(self), *_fallback_faults(self), *_range_faults(self)]:
            raise ValueError("\n  ".join(faults))
        return self

    @property
    def class_numbers(self) -> Mapping[str, int]:
        """Number of the class by each name that the annotation files may write."""
        return {name: number for number, entry in enumerate(self.classes, 1) for name in entry.written}

    def fallback_number(self, fallback: str) -> int:
        """Number of the class that `unlabelled` or `unknown` names; `NOT_ANNOTATED` if such nuclei count nowhere."""
        if fallback == COUNTS_NOWHERE:
            return NOT_ANNOTATED
        return [entry.name for entry in self.classes].index(fallback) + 1

    def dataset(self, organs: Sequence[str], mpp: float) -> DataSet:
        """The description of tiles at `mpp`."""
        classes = tuple(NuclearClass(name=entry.name, color=entry.color) for entry in self.classes)
        return DataSet(
            name=self.name,
            classes=classes,
            organs=tuple(organs),
            mpp=mpp,
            licence=self.licence,
            commercial_use=self.commercial_use,
        )


def read_description(path: Path, *, kinds: Sequence[str]) -> OwnDescription:
    """Read `dataset.yaml`.

    Args:
        kinds: Formats of annotations that can be read.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not YAML; or fields are open, unknown, missing or wrong: all of them are named.
    """
    if not path.parent.is_dir():
        raise MissingInputError(f"{path.parent}: the folder does not exist. Fix: correct its name")
    if not path.exists():
        draft = f"cellvit init_dataset {shlex.quote(str(path.parent))}"
        raise MissingInputError(f"{path}: the file does not exist. Fix: {draft}")
    content = read_yaml(path)
    lines = [_open_line(place) for place in _open_places(content)]
    description = None
    try:
        description = OwnDescription.model_validate(content)
    except ValidationError as error:
        texts = fault_lines(error, OwnDescription)
        lines += [
            _line(fault, text) for fault, text in zip(error.errors(), texts, strict=True) if fault["input"] != OPEN
        ]
    if description is not None:
        lines += _kind_faults(description.annotations.kind, kinds)
        if not lines:
            return description
    raise ContractError(
        f"{path}: the description of the data set is not complete or not valid:\n  "
        + "\n  ".join(lines)
        + "\nFix: edit this file. docs/own_data.md describes every field."
    )


def write_description(path: Path, description: OwnDescription) -> None:
    """Write a complete `dataset.yaml`, which `read_description` reads without a question."""
    content = description.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_text(path, f"# Description of this data set. All fields: docs/own_data.md\n{text}")


def field_help(place: Sequence[str | int]) -> tuple[str, str]:
    """What a field means, and an example of its value; two empty texts if there is no such field.

    Args:
        place: Names and numbers that lead to the field, from the top of the file.
    """
    section: object = OwnDescription
    field = None
    for part in place:
        if isinstance(part, int):
            section = get_args(section)[0] if get_origin(section) is tuple else None
            continue
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field else None
    return (field.description or "", str((field.examples or [""])[0])) if field else ("", "")


def _open_places(content: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if content == OPEN:
        yield place
    entries: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(content, dict):
        entries = iter((str(key), value) for key, value in content.items())
    elif isinstance(content, list):
        entries = iter(enumerate(content))
    for key, value in entries:
        yield from _open_places(value, (*place, key))


def _open_line(place: Sequence[str | int]) -> str:
    return f"{'.'.join(map(str, place))}: still open.{_advice(place)}"


def _line(fault: ErrorDetails, text: str) -> str:
    place = fault["loc"]
    return f"{'.'.join(map(str, place))}: missing.{_advice(place)}" if fault["type"] == "missing" else text


def _advice(place: Sequence[str | int]) -> str:
    meaning, example = field_help(place)
    return f" Meaning: {meaning}. Example:  {place[-1]}: {example}" if meaning else ""


def _kind_faults(kind: str | None, kinds: Sequence[str]) -> list[str]:
    if kind is None or kind in kinds or kind == OPEN:
        return []
    near = get_close_matches(kind, kinds, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return [f"annotations.kind: must be one of {', '.join(kinds)}, found {kind!r}{hint}"]


def _class_faults(description: OwnDescription) -> Iterator[str]:
    names = [entry.name for entry in description.classes]
    if not names:
        yield "classes: expected at least one class, found none"
    for name in names:
        if name.lower() in _RESERVED:
            yield f"classes: {name!r} has a meaning of its own and cannot be the name of a class"
    twice = _twice(name.lower() for name in names)
    for name in twice:
        yield f"classes: the name {name!r} occurs twice (upper and lower case do not count); give every class its own"
    try:
        _ = description.dataset((), 1.0) if names and not twice else None
    except ValidationError as error:  # what `DataSet` asks of names beyond that
        yield from (f"classes: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors())
    for name in _twice(name for entry in description.classes for name in entry.written):
        yield f"classes: the annotations' name {name!r} occurs twice in `names`; a name belongs to one class"


def _fallback_faults(description: OwnDescription) -> Iterator[str]:
    allowed = [*(entry.name for entry in description.classes), COUNTS_NOWHERE, REFUSED]
    for field in ("unlabelled", "unknown"):
        found = getattr(description, field)
        if found not in (*allowed, OPEN):
            near = get_close_matches(found, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{field}: must be one of {', '.join(map(repr, allowed))}, found {found!r}{hint}"


def _range_faults(description: OwnDescription) -> Iterator[str]:
    known = description.class_numbers
    ranges = description.annotations.value_ranges
    for name, (first, last) in ranges.items():
        if name not in known:
            yield f"annotations.value_ranges: {name!r} is not a class; the classes are {', '.join(map(repr, known))}"
        if first > last:
            yield f"annotations.value_ranges.{name}: the first id {first} is larger than the last id {last}"
    ordered = sorted((first, last, name) for name, (first, last) in ranges.items())
    for (_, last, one), (first, _, other) in pairwise(ordered):
        if first <= last:
            yield f"annotations.value_ranges: {one!r} and {other!r} share the ids {first} to {last}"


def _twice(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
