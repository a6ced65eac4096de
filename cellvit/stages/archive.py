"""Stage `archive`: models, evaluations, summary, report and settings of a run -> one dated folder, never overwritten."""

import logging
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import cellvit
from cellvit.config.files import settings_yaml
from cellvit.config.settings import Settings
from cellvit.errors import IntegrityError
from cellvit.formats.digests import combined, sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.summary import SummaryOrigin
from cellvit.workflow.arguments import How
from cellvit.workflow.verification import faults_of

log = logging.getLogger(__name__)

_MANIFEST: Final = "MANIFEST.sha256"
_README: Final = "README.txt"
_SETTINGS: Final = "settings.yaml"

_DIGITS: Final = 12
"""Hex digits of the digest in the name of an archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input and params."""

    settings: Annotated[Settings, How("JSON: all settings")]
    results: Annotated[Path, How("output folder of the run")]
    files: Annotated[tuple[Path, ...], How("files of that folder to archive")]
    origin: Annotated[Path, How("summary.json, which names the marks of the run")]


def run(arguments: Arguments) -> None:
    """Write the archive and print where it is; an equal one of the same day is not written twice.

    Raises:
        IntegrityError: A file was changed after it was written, or today's archive was.
    """
    files = {str(path.relative_to(arguments.results)): path for path in arguments.files}
    faults = [fault for path in files.values() for fault in faults_of(path)]
    if faults:
        raise IntegrityError("only results that are intact are archived:\n  " + "\n  ".join(faults))
    texts = {_SETTINGS: settings_yaml(arguments.settings), _README: _readme(arguments.origin)}
    digest = combined({name: sha256_of(path) for name, path in files.items()} | texts)
    # an archive is an event and not a product of its inputs: its date is that of the call
    archive = arguments.results / "archive" / f"{datetime.now().astimezone().date().isoformat()}_{digest[:_DIGITS]}"
    if archive.exists():
        _check_intact(archive)
        sys.stdout.write(f"{archive} has this content already; nothing was written\n")
        return
    _write(archive, files, texts)
    sys.stdout.write(f"{archive}: {len(files)} files. To check it:  cd {archive} && sha256sum -c {_MANIFEST}\n")


def _check_intact(archive: Path) -> None:
    for line in (archive / _MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines():
        sha256, _, name = line.partition("  ")
        path = archive / name
        found = sha256_of(path) if path.is_file() else "no such file"
        if found != sha256:
            raise IntegrityError(
                f"{path}: the file was changed after it was archived, and archives are never overwritten.\n"
                f"  sha256: expected {sha256}, found {found}\n"
                f"Fix: mv {shlex.quote(str(archive))} {shlex.quote(f'{archive}_changed')} && snakemake archive"
            )


def _write(archive: Path, files: dict[str, Path], texts: dict[str, str]) -> None:
    """Write the folder under a temporary name first: an archive that exists is complete."""
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}.part")
    try:
        for name, path in files.items():
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        names = sorted({*files, *texts})
        manifest = "".join(f"{sha256_of(temporary / name)}  {name}\n" for name in names)
        (temporary / _MANIFEST).write_text(manifest, encoding="utf-8")
        temporary.rename(archive)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.info("archived folder=%s files=%d", archive, len(files))


def _readme(origin: Path) -> str:
    """What the folder is, for whoever finds it."""
    provenance = read_document(origin, SummaryOrigin).provenance
    lines = [
        "A run of cellvit-optimus: models, decoding parameters, evaluations, summary, report and settings.",
        "",
        f"Computed with:   {provenance.software}",
        f"Archived with:   cellvit-optimus {cellvit.__version__}",
        f"Marks:           {', '.join(provenance.marks) or 'none'}",
        "",
        f"Is it intact?    sha256sum -c {_MANIFEST}",
        f"To run it again: snakemake --configfile {_SETTINGS}   (in the repository, with the same data)",
        "Results:         report/index.html opens offline; summary.csv holds every value.",
        "Weights trained on PanNuke inherit CC BY-NC-SA 4.0: not for commercial use.",
    ]
    return "\n".join(lines) + "\n"
