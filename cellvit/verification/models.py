"""Links from data to trained models, and from a finished training to the checkpoint in its place."""

from safetensors import SafetensorError

from cellvit.config.steps import step_section
from cellvit.contracts.documents import CheckpointHeader
from cellvit.errors import CellvitError
from cellvit.io.hashing import sha256_of
from cellvit.io.headers import checkpoint_hash, read_header
from cellvit.io.seals import read_seal, said_by_checkpoint
from cellvit.verification.examining import Examination
from cellvit.verification.layout import ORGAN_HEAD, decoder_of, history_of
from cellvit.verification.links import Link, Remedy
from cellvit.verification.run import Run, Source


def family_sources(run: Run, family: str, folds: tuple[int, ...]) -> dict[str, Source]:
    """What a step reads of some folds of a family, by the names that it is recorded under."""
    return {
        f"{kind}_fold{fold}": Source(run.layout.family(family, kind), f"fold{fold}")
        for kind in ("features", "targets")
        for fold in folds
    }


def organ_head_sources(run: Run, split: str) -> dict[str, Source]:
    """What OrganHead of a split is made from."""
    folds = [fold for of_role in run.settings.splits[split].roles.values() for fold in of_role]
    tiles = {f"tiles_fold{fold}": Source(run.layout.tiles(fold)) for fold in folds}
    return tiles | {f"features_fold{fold}": Source(run.layout.features(fold)) for fold in folds}


def trained_link(run: Run, split: str, model: str) -> Link:
    """A model as its training wrote it, against its data, settings and place."""
    path = run.layout.trained(split, model)
    exam = Examination(run, path)
    header = exam.read(read_header, "a checkpoint")
    if header is not None:
        _examine_file(exam, header, split, model)
    history = history_of(path)
    _examine_history(exam, header)
    remedy = Remedy((path,), (path,))
    if exam.faults and _published_intact(run, split, model):
        published = run.layout.checkpoint(split, model)
        remedy = Remedy(copy=((path, published), (history, history_of(published))))
    if header is not None:
        _examine_origin(exam, header, split, model)
    return exam.link("its folds" if model == ORGAN_HEAD else "its family's folds", remedy)


def checkpoint_link(run: Run, split: str, model: str) -> Link:
    """A checkpoint in its place against what its training wrote, and its seal."""
    layout, path = run.layout, run.layout.checkpoint(split, model)
    exam = Examination(run, path)
    header = exam.read(read_header, "a checkpoint")
    said = None if header is None else _said(exam, header)
    if header is not None and said is not None:
        exam.belongs(header, _place(split, model))
        exam.seal(layout.seal(path), said)
        trained = run.says(Source(layout.trained(split, model)))
        if trained is not None:
            exam.expect("weights and header", trained, said)
        if not exam.faults:
            run.know_checkpoint(path, said, header)
    _examine_history(exam, header)
    return exam.link("its training", Remedy((path, history_of(path), layout.seal(path)), (path,)))


def _place(split: str, model: str) -> dict[str, str]:
    if model == ORGAN_HEAD:
        return {"kind": "organ_head", "split": split, "family": ""}
    return {"kind": "hovernet", "split": split, "family": model.removeprefix(decoder_of(""))}


def _examine_file(exam: Examination, header: CheckpointHeader, split: str, model: str) -> None:
    """It belongs here and is as it was written; it is then known by what it says."""
    exam.belongs(header, _place(split, model))
    said = _said(exam, header)
    if said is not None and not exam.faults:
        exam.run.know(Source(exam.product), said)


def _said(exam: Examination, header: CheckpointHeader) -> str | None:
    said = exam.read(lambda file: said_by_checkpoint(file, header), "whole weights")
    if said is not None:
        exam.own(checkpoint_hash(exam.product))
    return said


def _published_intact(run: Run, split: str, model: str) -> bool:
    """True where the checkpoint in its place is what its seal says, and has its history."""
    path = run.layout.checkpoint(split, model)
    try:
        header = read_header(path)
        sealed = read_seal(run.layout.seal(path)) == said_by_checkpoint(path, header)
    except (CellvitError, OSError, SafetensorError):
        return False
    belongs = all(getattr(header, name) == expected for name, expected in _place(split, model).items())
    history = history_of(path)
    return sealed and belongs and history.is_file() and sha256_of(history) == header.tables.get("history")


def _examine_origin(exam: Examination, header: CheckpointHeader, split: str, model: str) -> None:
    roles = exam.run.settings.splits[split].roles
    folds = {role: roles[role] for role in ("train", "validate")}
    exam.expect("folds", folds, header.folds)
    stage = "train_organ_head" if model == ORGAN_HEAD else "train_hovernet"
    exam.settings(header.provenance.settings, step_section(exam.run.settings, stage).model_dump(mode="json"))
    seen = tuple(fold for of_role in folds.values() for fold in of_role)
    family = model.removeprefix(decoder_of(""))
    sources = organ_head_sources(exam.run, split) if model == ORGAN_HEAD else family_sources(exam.run, family, seen)
    exam.sources(header.provenance, sources)
    exam.code(header.code, stage)


def _examine_history(exam: Examination, header: CheckpointHeader | None) -> None:
    """The history beside a checkpoint is the one that was written with it."""
    history = history_of(exam.product)
    if not history.is_file():
        exam.fault("file", "the history of the training", "no such file", file=history)
    elif header is not None:
        expected, found = header.tables.get("history", "nothing"), sha256_of(history)
        exam.expect("sha256", expected, found, file=history)
        if expected == found:
            exam.run.know(Source(history), found)
