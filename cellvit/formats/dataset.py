"""Description of a data set: nuclear classes, organs, resolution and licence. PanNuke is the one that is built in.

It is in the header of every store and checkpoint, so that each later step knows the classes without being told.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, StringConstraints, model_validator

from cellvit.errors import StaleFileError
from cellvit.taxonomy import CLASS_NAMES, ORGANS, TILE_MPP

NOT_ANNOTATED: Final = 255
"""Value of the class map in pixels that count nowhere: not in the loss, not in HV maps, not in metrics."""

_Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")
]


class NuclearClass(BaseModel):
    """A class of nuclei: its name, and the colour of its contours as #rrggbb."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


class DataSet(BaseModel):
    """What the tiles of a run have in common.

    Attributes:
        classes: Nuclear classes; the number of a class is its position plus one, and 0 is background.
        organs: Organs of the tiles; empty if they are not known. The position is the number of the organ.
        mpp: Micrometres per pixel of the tiles, as the model sees them.
        licence: Licence of the data; models that are trained on them inherit it.
        commercial_use: False if the licence forbids commercial use; None if that is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    classes: Annotated[tuple[NuclearClass, ...], Field(min_length=1, max_length=100)]
    organs: tuple[_Name, ...] = ()
    mpp: PositiveFloat
    licence: str = ""
    commercial_use: bool | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for what, names in (("class", self.class_names), ("organ", self.organs)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"the {what} {twice[0]!r} occurs twice; give every {what} a name of its own")
        return self

    @model_validator(mode="after")
    def _distinct_keys(self) -> Self:
        """Names of metrics and columns contain the keys of the classes."""
        name_of: dict[str, str] = {}
        for name, key in zip(self.class_names[1:], self.class_keys, strict=True):
            if not key.strip("_"):
                raise ValueError(f"the class {name!r} has neither a letter nor a digit; give it a name that has")
            if key == self.class_names[0].lower():
                raise ValueError(
                    f"the class name {name!r} is reserved for pixels outside of nuclei; choose another name"
                )
            if key in name_of:
                raise ValueError(
                    f"the classes {name_of[key]!r} and {name!r} differ in case, blanks or punctuation alone, so that their "
                    "metrics would have one name; give them names that differ in letters or digits"
                )
            name_of[key] = name
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by number, "Background" first."""
        return ("Background", *(entry.name for entry in self.classes))

    @property
    def n_classes(self) -> int:
        """Number of nuclear classes, without the background."""
        return len(self.classes)

    @property
    def class_keys(self) -> tuple[str, ...]:
        """Nuclear classes as the names of metrics and columns spell them, in order.

        Examples:
            >>> PANNUKE.class_keys[0]
            'neoplastic'
        """
        return tuple(re.sub(r"\W+", "_", entry.name.lower()) for entry in self.classes)

    @property
    def licence_of_weights(self) -> str:
        """What the licence of the data means for models that are trained on them, as a sentence without its full stop."""
        if not self.licence:
            return f"the licence of {self.name} is not known, nor is that of weights trained on it"
        use = {True: " (commercial use is allowed)", False: " (non-commercial)", None: ""}[self.commercial_use]
        return f"weights trained on {self.name} inherit {self.licence}{use}"

    @property
    def color_of(self) -> dict[str, str]:
        """Colour of each class by its name, in order; the background comes last, which only maps of classes show."""
        return {entry.name: entry.color for entry in self.classes} | {self.class_names[0]: _BACKGROUND_COLOR}


def check_same_data(first: Path, expected: DataSet, second: Path, found: DataSet) -> None:
    """Refuse files of two data sets where one is needed, such as the stores of the folds of a run.

    Raises:
        StaleFileError: The data sets differ; the message names both files and what differs.
    """
    if expected != found:
        differing = _differences(str(first), expected, str(second), found, tuple(DataSet.model_fields))
        raise StaleFileError(
            f"{second}: this file is of another data set than {first}.\n"
            f"{differing or '  classes: the colours differ' + chr(10)}"
            "Fix: make the files of the run again from one data set: snakemake --forceall"
        )


def check_model_fits(model: str, trained_on: DataSet, tiles: Path, found: DataSet) -> None:
    """Refuse tiles of other classes or another resolution than those that a model was trained on.

    Args:
        model: Which model it is, in words.

    Raises:
        StaleFileError: They differ; the message names both.
    """
    if differing := _differences(model, trained_on, str(tiles), found, ("classes", "mpp")):
        raise StaleFileError(
            f"{tiles}: the tiles are of another kind than those that trained {model}.\n{differing}"
            "Fix: prepare the tiles with the classes and data.mpp of the model, or train a model on these tiles"
        )


def _differences(first: str, one: DataSet, second: str, other: DataSet, fields: tuple[str, ...]) -> str:
    """A line for each field that differs; of classes the names are compared."""
    lines = []
    for field in fields:
        sides = _in_words(one, field), _in_words(other, field)
        if sides[0] != sides[1]:
            lines.append(f"  {field}: {first} has {sides[0]}, {second} has {sides[1]}\n")
    return "".join(lines)


def _in_words(data_set: DataSet, field: str) -> str:
    value = data_set.class_names[1:] if field == "classes" else getattr(data_set, field)
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)


_BACKGROUND_COLOR: Final = "#5a5a5a"

_COLORS: Final = ("#f0e442", "#35e0f0", "#ffffff", "#000000", "#ff6a00")
"""Yellow, orange and black of Okabe and Ito's palette, with its blue and green replaced by cyan and white: all differ in
lightness, also without red-green vision, and none is a colour of H&E (violet, pink)."""

PANNUKE: Final = DataSet(
    name="PanNuke",
    classes=tuple(NuclearClass(name=name, color=color) for name, color in zip(CLASS_NAMES[1:], _COLORS, strict=True)),
    organs=ORGANS,
    mpp=TILE_MPP,
    licence="CC BY-NC-SA 4.0",
    commercial_use=False,
)

SIMULATED: Final = PANNUKE.model_copy(
    update={"name": "PanNuke (simulated)", "licence": "CC0-1.0", "commercial_use": True}
)
"""Tiles that were drawn by this project in the layout and with the classes of PanNuke: nothing of PanNuke is in them."""
