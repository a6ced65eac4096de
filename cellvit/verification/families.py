"""Links from folds to the families' views on them, their seals and the proof of their targets."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

import numpy as np

from cellvit.config.steps import step_section
from cellvit.contracts.documents import TargetCheck
from cellvit.contracts.provenance import Provenance
from cellvit.contracts.stores import FAMILY_FEATURES, FAMILY_TARGETS, FEATURES, TILES
from cellvit.io.family import FamilyStore, Member, family_sha256
from cellvit.io.features import open_family_features, open_features
from cellvit.io.hdf5 import Store
from cellvit.io.seals import said_of_parts
from cellvit.io.tiles import open_targets, open_tiles
from cellvit.verification.examining import Examination
from cellvit.verification.links import Link, Remedy
from cellvit.verification.run import Run, Source
from cellvit.verification.stores import stored

FEATURES_KIND: Final = "features"
TARGETS: Final = "targets"

_NAMES: Final = ("organ", "tile_id", "patient")
"""Columns that a family's store holds itself."""


def family_link(run: Run, family: str, kind: str) -> Link:
    """A family's features or targets against the stores of the folds: which rows it has, and what they are."""
    exam = Examination(run, run.layout.family(family, kind))
    features = kind == FEATURES_KIND
    fmt, opener = (FAMILY_FEATURES, open_family_features) if features else (FAMILY_TARGETS, open_targets)
    of_fold = run.layout.features if features else run.layout.tiles
    behind = [of_fold(fold) for fold in run.layout.folds]
    for path in (*behind, *map(run.layout.tiles, run.layout.folds)):
        if run.says(Source(path)) is None:
            exam.wait(path)
    if exam.waits_for:
        return exam.link("stores of the folds", _remedy(run, family, kind))
    with stored(exam, fmt, opener) as found:
        if found is not None:
            _examine_settings(exam, found.header.provenance.settings, family, kind)
            if isinstance(found.store, FamilyStore):
                _examine_rows(exam, found.store, family, kind)
            if not exam.faults:
                for name, sha256 in found.header.provenance.made_from.items():
                    run.know(Source(exam.product, name), sha256)
    return exam.link("stores of the folds", _remedy(run, family, kind))


def family_seal_link(run: Run, family: str) -> Link:
    """Seals of what a family reads of each fold, against its stores."""
    layout = run.layout
    seals = tuple(layout.family_seal(family, fold) for fold in layout.folds)
    exam = Examination(run, seals[0].parent)
    for fold, seal in zip(layout.folds, seals, strict=True):
        parts: dict[str, tuple[str, Provenance]] = {}
        for fmt, kind, of_fold in (
            (TILES, TARGETS, layout.tiles(fold)),
            (FEATURES, FEATURES_KIND, layout.features(fold)),
        ):
            said, header = run.says(Source(layout.family(family, kind), f"fold{fold}")), run.header(of_fold)
            if said is None or header is None:
                exam.wait(layout.family(family, kind))
            else:
                parts[fmt.name] = said, header.provenance
        if len(parts) == len((TILES, FEATURES)):
            exam.seal(seal, said_of_parts(parts))
    return exam.link("features and targets", Remedy(seals, seals[:1]))


def target_check_link(run: Run, family: str) -> Link:
    """The proof of a family's targets against them."""
    exam = Examination(run, run.layout.target_check(family))
    document = exam.document(TargetCheck, {"family": family})
    if document is not None:
        targets = run.layout.family(family, TARGETS)
        parts = {f"targets_fold{fold}": Source(targets, f"fold{fold}") for fold in run.layout.folds}
        exam.sources(document.provenance, parts)
        gates = step_section(run.settings, "check_targets").model_dump(mode="json")
        exam.settings(document.provenance.settings, {"gates": gates})
    return exam.link("targets", Remedy((exam.product,), (exam.product,)))


def _remedy(run: Run, family: str, kind: str) -> Remedy:
    path = run.layout.family(family, kind)
    return Remedy((path,), (path,))


def _examine_settings(exam: Examination, recorded: Mapping[str, Any], family: str, kind: str) -> None:
    organs = step_section(exam.run.settings, "gather_family", family).model_dump(mode="json")
    exam.settings(recorded, {"family": family, **organs})
    if kind == FEATURES_KIND:
        exam.settings(recorded, step_section(exam.run.settings, "extract_features").model_dump(mode="json"))


def _examine_rows(exam: Examination, store: FamilyStore, family: str, kind: str) -> None:
    """Which rows it has of each fold, by the organs of the family, and what they are."""
    layout, organs = exam.run.layout, exam.run.settings.decoder_families[family]
    with ExitStack() as stack:
        tiles = [stack.enter_context(open_tiles(layout.tiles(fold))) for fold in layout.folds]
        behind: list[Store] = list(tiles)
        if kind == FEATURES_KIND:
            behind = [stack.enter_context(open_features(layout.features(fold))) for fold in layout.folds]
        rows = [np.flatnonzero(np.isin(np.array(fold.names("organ"), dtype=object), organs)) for fold in tiles]
        members = [Member(*member) for member in zip(layout.folds, behind, rows, strict=True)]
        expected = {f"fold{member.fold}": member.sha256 for member in members}
        for name in sorted(expected.keys() | store.provenance.made_from.keys()):
            exam.expect(
                f"made_from.{name}",
                expected.get(name, "no such fold"),
                store.provenance.made_from.get(name, "nothing"),
            )
        exam.expect("content_sha256", family_sha256(exam.product, members), store.content_sha256)
        exam.expect("rows", sum(map(len, rows)), len(store))
        columns = {"fold": [np.full(len(own), fold) for fold, own in zip(layout.folds, rows, strict=True)], "row": rows}
        names = set(store.format.column_names) & set(_NAMES)
        columns |= {name: [fold.all(name)[own] for fold, own in zip(tiles, rows, strict=True)] for name in names}
        for name, values in sorted(columns.items()):
            if not np.array_equal(np.concatenate(values), store.all(name)):
                exam.fault(name, "as the tile stores have it", "something else")
