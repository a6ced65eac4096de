"""Settings of the data: folds and splits, and the names of organs, families and splits."""

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from cellvit.config.base import PathText, Section
from cellvit.taxonomy import SHARED_FAMILY, TILE_MPP

FAMILY_PATTERN = r"[a-z][a-z0-9_]{0,63}"
"""Names of families become parts of paths and shell lines: lower case, digits, underscore."""

RESERVED_FAMILIES = {
    SHARED_FAMILY: "the shared decoder (training.shared_decoder)",
    "routed": "the evaluation with predicted organs",
    "organ_predicted": "the evaluation with predicted organs",
    "organ_given": "the evaluation with given organs",
    "organ_head": "OrganHead",
}
"""Names that mean something else in file names and in the summary."""

FINAL_SPLIT = "final"
"""In place of a split: the final models, which are trained on all folds and tested on none."""

RESERVED_SPLITS = {
    "mean": "the mean over splits in the summary",
    FINAL_SPLIT: "the final models on all folds (snakemake final)",
}

SPLIT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_]*"
"""Names of splits become parts of paths and shell lines."""


def _name(what: str, pattern: str, words: str, reserved: Mapping[str, str]) -> AfterValidator:
    """Validator of the name of a family or split."""

    def checked(name: str) -> str:
        if name in reserved:
            raise ValueError(f"the {what} name {name!r} is reserved for {reserved[name]}; choose another name")
        if not re.fullmatch(pattern, name):
            raise ValueError(f"the {what} name {name!r} must be {words}, because it becomes part of file names")
        return name

    return AfterValidator(checked)


def _distinct(folds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(folds)) != len(folds):
        raise ValueError(f"a fold is listed twice in {list(folds)}")
    return folds


def named_without_nulls(value: object) -> object:
    """Drop entries that are null, so that an overriding file can remove one; make names strings."""
    if not isinstance(value, dict):
        return value
    return {str(name): entry for name, entry in value.items() if entry is not None}


Organ = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""Name of an organ as the data set spells it; `cellvit.workflow.data_set` compares it with those of the data set."""

FamilyName = Annotated[
    str, _name("family", FAMILY_PATTERN, "small letters, digits and _, a letter first", RESERVED_FAMILIES)
]
SplitName = Annotated[str, _name("split", SPLIT_PATTERN, "letters, digits and _", RESERVED_SPLITS)]
_AS_LIST = BeforeValidator(lambda value: [value] if isinstance(value, int) else value)
Folds = Annotated[tuple[PositiveInt, ...], _AS_LIST, AfterValidator(_distinct), Field(min_length=1)]


class SimulatedData(Section):
    """Folds that `simulate_pannuke` makes, instead of the folds in `data.root`."""

    tiles_per_fold: int = Field(default=60, ge=1, le=10_000, description="tiles of each simulated fold")
    seed: int = Field(default=0, ge=0, description="seed of the simulation")


class DataSettings(Section):
    """Where the folds come from."""

    root: PathText | None = Field(
        default="data/pannuke",
        description='folder with "Fold 1", "Fold 2" ... as in the official download of PanNuke, or with dataset.yaml and '
        "tiles.csv of a data set of your own (docs/own_data.md); null with data.simulated",
    )
    folds: Folds = Field(
        default=(1, 2, 3),
        description="folds in use; if tiles.csv of your own data names none, as many are made, each patient in one of them",
    )
    fold_seed: int = Field(default=0, ge=0, description="seed with which folds of your own data are made")
    mpp: PositiveFloat = Field(
        default=TILE_MPP,
        description="resolution at which the model sees tiles, micrometres per pixel; images of your own data are resampled to "
        "it, tiles in PanNuke's layout have 0.25",
    )
    simulated: SimulatedData | None = Field(default=None, description="simulate the folds; null for real data")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.root is None) == (self.simulated is None):
            raise ValueError(
                "set exactly one of data.root (real folds) and data.simulated (folds that the run simulates); "
                f"found root={self.root!r}, simulated={self.simulated!r}"
            )
        return self


class Split(Section):
    """Which folds train, validate and test."""

    train: Folds = Field(description="folds on which the decoders and OrganHead are trained")
    validate_: Folds = Field(alias="validate", description="folds on which epochs and watershed parameters are chosen")
    test: Folds = Field(description="folds on which the results are evaluated, once")

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        used = [*self.train, *self.validate_, *self.test]
        shared = sorted({fold for fold in used if used.count(fold) > 1})
        if shared:
            raise ValueError(f"fold {shared} has more than one role; train, validate and test must be disjoint")
        return self

    @property
    def roles(self) -> dict[str, tuple[int, ...]]:
        """Folds by role: train, validate, test."""
        return {"train": self.train, "validate": self.validate_, "test": self.test}


def _different(splits: dict[str, Split]) -> dict[str, Split]:
    """Equal splits under two names would count twice in means over splits."""
    name_of: dict[tuple[frozenset[int], ...], str] = {}
    for name, split in splits.items():
        first = name_of.setdefault(tuple(map(frozenset, split.roles.values())), name)
        if first != name:
            raise ValueError(
                f"splits {first} and {name} have the same folds in the same roles; remove one: {name}: null"
            )
    return splits


Splits = Annotated[
    dict[SplitName, Split], BeforeValidator(named_without_nulls), AfterValidator(_different), Field(min_length=1)
]

OFFICIAL_SPLITS = {
    "1": {"train": [1], "validate": [2], "test": [3]},
    "2": {"train": [2], "validate": [1], "test": [3]},
    "3": {"train": [3], "validate": [2], "test": [1]},
}
"""PanNuke's three official splits; published results are their mean."""
