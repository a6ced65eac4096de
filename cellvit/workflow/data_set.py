"""The data set of a run, and the settings against it: its resolution, and the organs of the families."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from cellvit.config.data import OFFICIAL_SPLITS
from cellvit.config.settings import Settings, load_settings
from cellvit.data.folds import splits_for
from cellvit.data.own_data import OwnData, is_own_data, read_own_data
from cellvit.errors import SettingsError
from cellvit.formats.dataset import PANNUKE, DataSet
from cellvit.taxonomy import DEFAULT_FAMILIES


def own_data_of(settings: Settings) -> OwnData | None:
    """The data set of the user's own that the settings name; None for PanNuke's layout.

    Raises:
        MissingInputError: A file that it names does not exist.
        ContractError: Its description is not complete or not valid.
    """
    root = Path(settings.data.root or "")
    return read_own_data(root) if settings.data.root and is_own_data(root) else None


def data_set_of(settings: Settings) -> DataSet:
    """The data set that the settings name.

    Raises:
        MissingInputError, ContractError: As `own_data_of`.
    """
    own = own_data_of(settings)
    return own.dataset(settings.data.mpp) if own else PANNUKE


def settings_for(settings: Settings, data_set: DataSet) -> Settings:
    """The settings as they hold for a data set.

    PanNuke's own defaults do not hold for another data set: default families that it lacks organs of are left out, and
    splits that are still the official ones become splits of its folds in which each fold is tested once.

    Raises:
        SettingsError: The resolution is another one, an organ is unknown, or an organ of the data set is in no family.
    """
    fitted = _with_splits_of_its_folds(_without_default_families(settings, data_set), data_set)
    faults = [*_resolution(fitted, data_set), *_organs(fitted, data_set)]
    if faults:
        raise SettingsError("the settings do not fit the data set:\n  " + "\n  ".join(faults))
    return fitted


def _without_default_families(settings: Settings, data_set: DataSet) -> Settings:
    """The default families are PanNuke's; snakemake merges them with those that a user writes."""
    if settings.families is None or data_set.organs == PANNUKE.organs:
        return settings
    kept = {
        name: family
        for name, family in settings.model_dump(by_alias=True)["families"].items()
        if family != {"organs": DEFAULT_FAMILIES.get(name)} or set(family["organs"]) <= set(data_set.organs)
    }
    if len(kept) == len(settings.families):
        return settings
    return load_settings(settings.model_dump(by_alias=True) | {"families": kept or None})


def _with_splits_of_its_folds(settings: Settings, data_set: DataSet) -> Settings:
    given = settings.model_dump(by_alias=True)["splits"]
    official = {name: {role: tuple(folds) for role, folds in split.items()} for name, split in OFFICIAL_SPLITS.items()}
    if data_set == PANNUKE or any(official.get(name) != split for name, split in given.items()):
        return settings
    numbers, removed = sorted(settings.data.folds), official.keys() - given.keys()
    made = {
        name: {role: [numbers[fold - 1] for fold in folds] for role, folds in split.items()}
        for name, split in splits_for(len(numbers)).items()
        if name not in removed
    }
    return load_settings(settings.model_dump(by_alias=True) | {"splits": made})


def _resolution(settings: Settings, data_set: DataSet) -> Iterator[str]:
    if settings.data.mpp != data_set.mpp:
        is_pannuke = data_set == PANNUKE
        layout = "tiles in PanNuke's layout are not resampled, and have" if is_pannuke else f"{data_set.name} has"
        yield (
            f"data.mpp={settings.data.mpp:g}: {layout} {data_set.mpp:g} micrometres per pixel; set data.mpp: {data_set.mpp:g}"
        )


def _organs(settings: Settings, data_set: DataSet) -> Iterator[str]:
    name, known = data_set.name, data_set.organs
    if not known and settings.families is not None:
        yield (
            f"families: the data set {name} names no organs, so that no tile would be in a family; set families: null, which "
            "is one decoder for all tiles"
        )
        return
    listed = {f"families.{family}": organs for family, organs in settings.organs.items()}
    listed["left_out_organs"] = settings.left_out_organs
    for key, organs in listed.items():
        yield from (_unknown(key, organ, data_set) for organ in organs if organ not in known)
    used = {organ for organs in listed.values() for organ in organs}
    if settings.families is not None and (missing := [organ for organ in known if organ not in used]):
        yield (
            f"families: these organs of the data set {name} are in no family: {', '.join(missing)}; add each to a family, "
            f"leave them out (left_out_organs: [{', '.join([*settings.left_out_organs, *missing])}]), or set families: null, "
            "which is one decoder for all organs"
        )
    if known and set(settings.left_out_organs) >= set(known):
        yield "left_out_organs: every organ of the data set is left out, so that no tile trains a decoder; shorten the list"


def _unknown(key: str, organ: str, data_set: DataSet) -> str:
    near = difflib.get_close_matches(organ, data_set.organs, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]}?" if near else "."
    known = ", ".join(data_set.organs) or "none"
    return f"{key}: unknown organ {organ!r}{hint} The organs of the data set {data_set.name} are: {known}"
