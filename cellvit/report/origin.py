"""Tables of what was run: data, encoder, settings, digests, versions and times."""

import math
from collections.abc import Iterable
from typing import Final

from cellvit.config.base import flattened
from cellvit.config.encoders import PUBLISHED
from cellvit.config.models import TrainingSettings
from cellvit.config.settings import Settings
from cellvit.formats.dataset import DataSet
from cellvit.formats.documents import Document
from cellvit.formats.timing import UNKNOWN, Timing
from cellvit.report.cells import Cell, Row, Table, count_cell, number_cell, text_table
from cellvit.report.data import ReportData
from cellvit.report.wording import decoder_label, duration

_DIGEST_DIGITS: Final = 16
"""Hex digits of a digest that are shown: enough to distinguish the files of a run. The tooltip has all of them."""


def data_table(settings: Settings, data_set: DataSet) -> Table:
    """Data, encoder and splits in words."""
    data, encoder, features = settings.data, settings.encoder, settings.features
    source = f"in {data.root}"
    if data.simulated:
        source = f"simulated by this package: {data.simulated.tiles_per_fold} tiles a fold, seed {data.simulated.seed}"
    weights = f"from {encoder.weights}"
    if encoder.weights == PUBLISHED:
        weights = (
            f"published, {f'Python package {encoder.spec.package}' if encoder.spec.package else 'Hugging Face hub'}"
        )
        weights += f"; trained on {encoder.spec.trained_on}" * bool(encoder.spec.trained_on)
    if encoder.untrained:
        weights = f"RANDOM (untrained), seed {encoder.seed}"
    facts = {
        "Data": f"{data_set.name}, {source}",
        "Classes": ", ".join(data_set.class_names[1:]),
        "Organs": ", ".join(data_set.organs) or "not known",
        "Resolution": f"{data_set.mpp:g} µm per pixel",
        "Licence of the data": data_set.licence or "not known",
        "Folds": ", ".join(map(str, data.folds)),
        "Encoder": f"{encoder.preset} ({encoder.spec.name}), frozen",
        "Weights of the encoder": weights,
        "Licence of the encoder": encoder.spec.licence,
        "Input of the encoder": f"{features.input_px} px, {_read_blocks(settings)}, "
        f"{len(features.views)} of 8 flips and rotations, {features.colour_views} colour views",
        "Decoder": f"HoVer-Net, image stem {settings.decoder.image_stem}; {_budget(settings.training)}, "
        f"batch {settings.training.batch_size}",
        "Seed": str(settings.seed),
    }
    facts |= {f"Split {name}": _roles(split.roles) for name, split in settings.splits.items()}
    if settings.families is None:
        facts["Families"] = "none: one decoder for all organs"
    if settings.left_out_organs:
        facts["Organs left out"] = ", ".join(settings.left_out_organs)
    for name, family in (settings.families or {}).items():
        own = [f"{key}: {value}" for key, value in flattened(family.own).items()]
        facts[f"Family {name}"] = "; ".join([", ".join(family.organs), *own])
    return text_table("Data, encoder and splits", ("What", "Value"), facts)


def settings_table(settings: Settings) -> Table:
    """Every setting by its key, defaults included."""
    items = {}
    for key, value in flattened(settings.model_dump(mode="json", by_alias=True)).items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        items[key] = "null" if value is None else shown
    return text_table("Settings in full", ("Key", "Value"), items, kind="facts keys")


def digest_table(data: ReportData) -> Table:
    """Digests of what each document was made from."""
    rows: list[Row] = []
    for label, document in _named_documents(data):
        for place, (name, sha256) in enumerate(document.provenance.made_from.items()):
            cell = Cell(sha256[:_DIGEST_DIGITS], hint=sha256, kind="hash")
            rows.append(Row(name, (cell,), group="" if place else label))
    return Table("Digests of the inputs (sha256)", "Document and its inputs", ("Digest",), tuple(rows), kind="facts")


def checkpoint_table(data: ReportData) -> Table:
    """Decoders with the folds and tiles that they have seen."""
    rows = []
    for decoder in data.decoders:
        header = decoder.header
        cells = (
            Cell(header.status, hint=header.reason),
            Cell(_roles(header.folds)),
            Cell("; ".join(f"{role} {count:,}" for role, count in header.tiles.items())),
            number_cell(str(header.step) if header.status == "trained" else "–"),
            Cell(header.selection),
            Cell(header.code, kind="hash"),
        )
        rows.append(Row(decoder_label(header.split, header.family), cells))
    columns = ("Status", "Folds seen", "Tiles", "Selected step", "Selected by", "Code")
    return Table("Checkpoints", "Checkpoint", columns, tuple(rows))


def machine_table(data: ReportData) -> Table:
    """Commit, GPU, driver and versions, as the jobs of the run recorded them; "unknown" where none did."""
    machines = [timing.machine for timing in data.timings]
    recorded = dict.fromkeys(document.provenance.software for _, document in _named_documents(data))
    packages = dict.fromkeys(name for machine in machines for name in machine.software)
    facts = {
        "Results computed with": ", ".join(recorded) or UNKNOWN,
        "Git commit of the code": _distinct(machine.commit for machine in machines),
        "GPU": _distinct(machine.gpu for machine in machines),
        "Driver of the GPU": _distinct(machine.driver for machine in machines),
        "Versions": "; ".join(
            f"{name} {_distinct(one.software[name] for one in machines if name in one.software)}" for name in packages
        )
        or UNKNOWN,
    }
    return text_table("Code and machine", ("What", "Value"), facts)


def time_table(timings: Iterable[Timing]) -> Table:
    """Jobs, wall time and peak memory of each step."""
    steps: dict[str, list[Timing]] = {}
    for timing in timings:
        steps.setdefault(timing.step, []).append(timing)
    rows = []
    for step, jobs in sorted(steps.items()):
        seconds = [job.seconds for job in jobs]
        times = duration(math.fsum(seconds)), duration(max(seconds))
        memory = _gigabytes(job.memory_mb for job in jobs), _gigabytes(job.gpu_mb for job in jobs)
        rows.append(Row(step, (count_cell(len(jobs)), *map(number_cell, times + memory))))
    columns = ("Jobs", "Time of all jobs", "Longest job", "Peak memory", "Peak memory of the GPU")
    note = (
        "The times are those of the run that computed, also where its result was reused. Memory of the host: the process "
        "with its largest worker; of the GPU: what torch held. A dash: no GPU was used."
    )
    caption = "Times and memory: only these and the machine differ from run to run"
    return Table(caption, "Step", columns, tuple(rows), note)


def _named_documents(data: ReportData) -> list[tuple[str, Document]]:
    named: list[tuple[str, Document]] = [(f"fold {summary.fold}", summary) for summary in data.fold_summaries]
    named += [("check of the folds", check) for check in data.folds_checks]
    named += [("check of the images", check) for check in data.own_checks]
    named += [(f"target check, fold {check.fold}", check) for check in data.target_checks]
    named += [(f"feature check, {check.fold_id}", check) for check in data.feature_checks]
    for decoder in data.decoders:
        label = decoder_label(decoder.header.split, decoder.header.family)
        of_decoder = {"decoder": decoder.header, "watershed": decoder.watershed, "evaluation": decoder.evaluation}
        named += [(f"{kind}, {label}", document) for kind, document in of_decoder.items() if document is not None]
    named += [(f"OrganHead, split {document.split}", document) for document in data.organ_heads]
    named += [(f"routed evaluation, split {document.split}", document) for document in data.routed]
    return named


def _read_blocks(settings: Settings) -> str:
    spec = settings.encoder.spec
    read = spec.read_blocks(settings.features.blocks)
    if spec.levels:
        return f"levels of stride {', '.join(str(spec.levels[level].stride_px) for level in read)} px"
    return f"blocks {', '.join(map(str, read))}"


def _budget(training: TrainingSettings) -> str:
    """How long each decoder is trained, in words."""
    if training.steps is not None:
        return f"{training.steps} steps"
    return f"{training.epochs} epochs, at least {training.min_steps} steps"


def _roles(roles: dict[str, tuple[int, ...]]) -> str:
    return "; ".join(f"{role} {'+'.join(map(str, folds))}" for role, folds in roles.items())


def _distinct(values: Iterable[str]) -> str:
    """The values that differ; what is unknown or none is named only where there is nothing else."""
    found = sorted(set(values))
    known = [value for value in found if value not in (UNKNOWN, "none")]
    return ", ".join(known) or ("none: computed on the CPU" if "none" in found else UNKNOWN)


def _gigabytes(megabytes: Iterable[float]) -> str:
    """The greatest; a dash where none was measured."""
    measured = [value for value in megabytes if not math.isnan(value)]
    return f"{max(measured) / 1024:.2f} GB" if measured else "–"
