"""Links from models to watershed parameters and evaluations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellvit.config.steps import step_section
from cellvit.contracts.documents import (
    FamilyEvaluation,
    OrganHeadEvaluation,
    RoutedEvaluation,
    WatershedChoice,
)
from cellvit.io.hashing import sha256_of
from cellvit.taxonomy import POOLED_FAMILY
from cellvit.verification.examining import Examination
from cellvit.verification.layout import ORGAN_HEAD, decoder_of, tiles_of
from cellvit.verification.links import Link, Remedy
from cellvit.verification.models import family_sources, organ_head_sources
from cellvit.verification.run import Run, Source


def watershed_link(run: Run, split: str, family: str) -> Link:
    """Watershed parameters against the decoder and the validation folds."""
    exam = Examination(run, run.layout.watershed(split, family))
    document = exam.document(WatershedChoice, {"split": split, "family": family})
    if document is not None:
        folds = run.settings.splits[split].roles["validate"]
        decoder = {"checkpoint": Source(run.layout.checkpoint(split, decoder_of(family)))}
        exam.sources(document.provenance, family_sources(run, family, folds) | decoder)
        exam.settings(document.provenance.settings, _settings(run, "tune_watershed", validate_folds=folds))
    return exam.link("decoder, validation folds", Remedy((exam.product,), (exam.product,)))


def evaluation_link(run: Run, split: str, family: str) -> Link:
    """A family's evaluation against its decoder, watershed and folds, and its table."""
    exam = Examination(run, run.layout.evaluation(split, family))
    document = exam.document(FamilyEvaluation, {"split": split, "family": family})
    if document is not None:
        roles = run.settings.splits[split].roles
        sources = family_sources(run, family, (*roles["train"], *roles["test"])) | _decoder(run, split, family)
        exam.sources(document.provenance, sources | _pooled(run, split, family))
        folds = {"train_folds": roles["train"], "test_folds": roles["test"]}
        exam.settings(document.provenance.settings, _settings(run, "evaluate_family", **folds))
        _examine_table(exam, document.tables)
    return exam.link("decoder, watershed, test folds", _both(exam.product))


def organ_head_evaluation_link(run: Run, split: str) -> Link:
    """The figures of OrganHead against its folds."""
    exam = Examination(run, run.layout.evaluation(split, ORGAN_HEAD))
    document = exam.document(OrganHeadEvaluation, {"split": split})
    if document is not None:
        exam.sources(document.provenance, organ_head_sources(run, split))
        exam.settings(document.provenance.settings, _settings(run, "train_organ_head"))
    return exam.link("its folds", Remedy((exam.product,), (exam.product,)))


def routed_link(run: Run, split: str) -> Link:
    """The routed evaluation against OrganHead, every decoder, and what the families' evaluations measured."""
    exam = Examination(run, run.layout.evaluation(split, "routed"))
    document = exam.document(RoutedEvaluation, {"split": split})
    if document is not None:
        layout, test = run.layout, run.settings.splits[split].roles["test"]
        sources = {f"tiles_fold{fold}": Source(layout.tiles(fold)) for fold in test}
        sources |= {f"features_fold{fold}": Source(layout.features(fold)) for fold in test}
        sources |= {"organ_head": Source(layout.checkpoint(split, ORGAN_HEAD))}
        for family in run.settings.families:
            sources |= {f"{family}_{name}": source for name, source in _decoder(run, split, family).items()}
            sources |= {f"{family}_tiles": Source(tiles_of(layout.evaluation(split, family)))}
        exam.sources(document.provenance, sources)
        exam.settings(document.provenance.settings, _settings(run, "evaluate_routed", test_folds=test))
        _examine_table(exam, document.tables)
    return exam.link("OrganHead, decoders, test folds", _both(exam.product))


def _decoder(run: Run, split: str, family: str) -> dict[str, Source]:
    checkpoint = Source(run.layout.checkpoint(split, decoder_of(family)))
    return {"checkpoint": checkpoint, "watershed": Source(run.layout.watershed(split, family))}


def _pooled(run: Run, split: str, family: str) -> dict[str, Source]:
    """The control beside a family; nothing where there is none, or none could be trained."""
    if family == POOLED_FAMILY or POOLED_FAMILY not in run.layout.families:
        return {}
    header = run.checkpoint(run.layout.checkpoint(split, decoder_of(POOLED_FAMILY)))
    if header is not None and header.status == "absent":
        return {}
    return {f"pooled_{name}": source for name, source in _decoder(run, split, POOLED_FAMILY).items()}


def _settings(run: Run, step: str, **folds: tuple[int, ...]) -> dict[str, Any]:
    """Settings of a step as its document records them, with the folds that it was given."""
    given = {name: list(of_role) for name, of_role in folds.items()}
    return step_section(run.settings, step).model_dump(mode="json") | given


def _examine_table(exam: Examination, tables: Mapping[str, str]) -> None:
    """The table beside an evaluation is the one that was written with it."""
    path = tiles_of(exam.product)
    if not path.is_file():
        exam.fault("file", "the table of the evaluation's tiles", "no such file", file=path)
        return
    sha256 = sha256_of(path)
    exam.expect("sha256", tables.get("tiles", "nothing"), sha256, file=path)
    if tables.get("tiles") == sha256:
        exam.run.know(Source(path), sha256)


def _both(evaluation: Path) -> Remedy:
    return Remedy((evaluation, tiles_of(evaluation)), (evaluation,))
