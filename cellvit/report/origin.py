"""What was run: data, encoder, settings, hashes, versions and times, as tables."""

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

import cellvit
from cellvit.config.encoders import EncoderSettings
from cellvit.config.settings import Settings
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.documents import Document
from cellvit.report.cells import Cell, Row, Table, count_cell, text_table
from cellvit.report.findings import Findings
from cellvit.report.wording import duration, family_label
from cellvit.workflow.timing_records import JobTiming

_PACKAGES: Final = ("torch", "timm", "numpy", "scipy", "scikit-image", "h5py", "pandas", "snakemake")
"""Packages whose version can change a figure."""

_HASH_DIGITS: Final = 16
"""Hex digits of a hash that are shown: enough to tell any two files of a run apart; the whole one is its tooltip."""


def data_table(settings: Settings) -> Table:
    """Data, encoder and splits in words."""
    data, encoder = settings.data, settings.encoder
    source = (
        f"simulated by this package: {data.simulated.tiles_per_fold} tiles a fold, seed {data.simulated.seed}"
        if data.simulated
        else f"folds in PanNuke's layout under {data.root}"
    )
    facts = {
        "Data": source,
        "Folds": ", ".join(map(str, data.folds)),
        "Encoder": f"{encoder.preset} ({encoder.spec.name}), frozen",
        "Weights of the encoder": _weights(encoder),
        "Licence of the encoder": encoder.spec.licence,
        "Input of the encoder": f"{settings.features.input_px} px, blocks {', '.join(map(str, settings.stored_blocks))}, "
        f"{len(settings.features.views)} of 8 flips and rotations, {settings.features.colour_views} colour views",
        "Decoder": f"HoVer-Net, image stem {settings.decoder.image_stem}; {settings.training.epochs} epochs, "
        f"batch {settings.training.batch_size}",
        "Seed": str(settings.seed),
    }
    for name, split in settings.splits.items():
        facts[f"Split {name}"] = "; ".join(f"{role} {_folds(folds)}" for role, folds in split.roles.items())
    for family, organs in settings.families.items():
        facts[f"Family {family}"] = ", ".join(organs)
    return text_table("Data, encoder and splits", ("What", "Value"), facts)


def settings_table(settings: Settings) -> Table:
    """Every setting by its key, defaults included."""
    flat = dict(_flattened(settings.model_dump(mode="json", by_alias=True)))
    return text_table("Settings in full", ("Key", "Value"), flat, kind="facts keys")


def hash_table(findings: Findings) -> Table:
    """Content hashes (sha256) of what each document was made from."""
    rows: list[Row] = []
    for label, document in _named_documents(findings):
        for place, (name, sha256) in enumerate(document.provenance.made_from.items()):
            cell = Cell(sha256[:_HASH_DIGITS], hint=sha256, kind="hash")
            rows.append(Row(name, (cell,), group="" if place else label))
    return Table("Content hashes of the inputs (sha256)", "Document and input", ("Hash",), tuple(rows), kind="facts")


def checkpoint_table(headers: Iterable[CheckpointHeader]) -> Table:
    """Decoders with the folds and tiles that they have seen."""
    rows = tuple(
        Row(
            f"split {header.split} · {family_label(header.family) or 'OrganHead'}",
            (
                Cell(header.status, hint=header.reason),
                Cell("; ".join(f"{role} {_folds(folds)}" for role, folds in header.folds.items())),
                Cell("; ".join(f"{role} {count:,}" for role, count in header.tiles.items())),
                Cell(str(header.epoch) if header.status == "trained" else "–", kind="number"),
                Cell(header.selection),
                Cell(header.code, kind="hash"),
            ),
        )
        for header in headers
    )
    columns = ("Status", "Folds seen", "Tiles", "Epoch kept", "Chosen by", "Code")
    return Table("Checkpoints", "Checkpoint", columns, rows, kind="results")


def version_table(findings: Findings) -> Table:
    """Versions of the software: as the documents say, and as installed where the report was built."""
    recorded = dict.fromkeys(document.provenance.software for _, document in _named_documents(findings))
    facts = {"Results computed with": ", ".join(recorded) or "unknown"}
    facts["Report built with"] = f"cellvit-optimus {cellvit.__version__}"
    facts |= {f"{name} (where the report was built)": _version(name) for name in _PACKAGES}
    return text_table("Software", ("What", "Version"), facts)


def time_table(timings: Iterable[JobTiming]) -> Table:
    """Jobs, wall time and peak memory of each step."""
    steps: dict[str, list[JobTiming]] = {}
    for timing in timings:
        steps.setdefault(timing.step, []).append(timing)
    return Table(
        "Times and memory (they differ from run to run; nothing else on this page does)",
        "Step",
        ("Jobs", "Time of all jobs", "Longest job", "Peak memory", "Peak memory of the GPU"),
        tuple(Row(step, _time_cells(jobs)) for step, jobs in sorted(steps.items())),
        note="Memory on the host as Snakemake saw it, on the GPU as torch held it. A dash: no GPU used, or too short to see.",
        kind="results",
    )


def _time_cells(jobs: Sequence[JobTiming]) -> tuple[Cell, ...]:
    seconds = [job.seconds for job in jobs]
    texts = (
        duration(sum(seconds)),
        duration(max(seconds)),
        _gigabytes([job.memory_mb for job in jobs]),
        _gigabytes([job.gpu_mb for job in jobs]),
    )
    return count_cell(len(jobs)), *(Cell(text, kind="number") for text in texts)


def _named_documents(findings: Findings) -> list[tuple[str, Document]]:
    named: list[tuple[str, Document]] = []
    named += [(f"features of {check.fold_id}", check) for check in findings.feature_checks]
    named += [(f"family {check.family}", check) for check in findings.target_checks]
    for decoder in findings.decoders:
        label = f"split {decoder.header.split}, {family_label(decoder.header.family)}"
        named.append((f"decoder, {label}", decoder.header))
        if decoder.watershed is not None:
            named.append((f"watershed, {label}", decoder.watershed))
        if decoder.evaluation is not None:
            named.append((f"evaluation, {label}", decoder.evaluation))
    named += [(f"OrganHead, split {document.split}", document) for document in findings.organ_heads]
    named += [(f"routed evaluation, split {document.split}", document) for document in findings.routed]
    return named


def _weights(encoder: EncoderSettings) -> str:
    if encoder.untrained:
        return f"RANDOM (untrained), seed {encoder.seed}"
    return "from the hub" if encoder.weights == "hub" else f"from {encoder.weights}"


def _flattened(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _flattened(entry, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, "null" if value is None else str(value)


def _folds(folds: Iterable[int]) -> str:
    return "+".join(map(str, folds))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _gigabytes(megabytes: Iterable[float]) -> str:
    """The greatest; a dash where none was measured."""
    measured = [value for value in megabytes if not math.isnan(value)]
    return f"{max(measured) / 1024:.2f} GB" if measured else "–"
