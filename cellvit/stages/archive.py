"""Stage `archive`: what is worth keeping of a run -> one dated folder with a manifest of hashes, never overwritten."""

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import cellvit
from cellvit.config.files import settings_yaml
from cellvit.config.steps import ArchiveSettings
from cellvit.errors import IntegrityError
from cellvit.formats.atomic import write_text
from cellvit.formats.checkpoints import checkpoint_digest, read_header
from cellvit.formats.digests import check_table, check_unchanged, combined, sha256_of
from cellvit.formats.documents import own_digest, read_document
from cellvit.formats.page import page_digest
from cellvit.formats.summary import SummaryOrigin

log = logging.getLogger(__name__)

_MANIFEST: Final = "MANIFEST.sha256"
_README: Final = "README.txt"
_SETTINGS: Final = "settings.yaml"

_TABLES: Final = frozenset({".csv", ".txt"})

_DIGITS: Final = 12
"""Hex digits of the content hash in the name of an archive."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input, output and params."""
    parser.add_argument("--settings", type=ArchiveSettings.model_validate_json, required=True, help="JSON: all")
    parser.add_argument("--results", type=Path, required=True, help="output folder of the run")
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="what is archived, in that folder")
    parser.add_argument(
        "--origin", type=Path, required=True, help="summary.json: marks of the run, hashes of its tables"
    )
    parser.add_argument("--folder", type=Path, required=True, help="folder of archives")
    parser.add_argument("--receipt", type=Path, required=True, help="text to write: where the archive is")


def run(args: argparse.Namespace) -> None:
    """Write the archive and say where it is; the same content on the same day is there already.

    Raises:
        IntegrityError: A file was changed after it was written, or the archive of today was.
    """
    files = {str(path.relative_to(args.results)): path for path in (*args.files, args.origin)}
    _check_as_written(args.origin, files)
    settings = settings_yaml(args.settings.settings)
    content = combined({name: sha256_of(path) for name, path in files.items()} | {_SETTINGS: settings})
    # an archive is an event, no product of its inputs: its date is that of the call
    archive = args.folder / f"{datetime.now().astimezone().date().isoformat()}_{content[:_DIGITS]}"
    if archive.exists():
        _check_intact(archive)
        outcome = f"{archive} has the same content already; nothing was written"
    else:
        _write(archive, files, {_SETTINGS: settings, _README: _readme(args.origin, files)})
        outcome = f"{archive}: {len(files)} files. Check it: cd {archive} && sha256sum -c {_MANIFEST}"
    sys.stdout.write(f"{outcome}\n")
    write_text(args.receipt, f"{archive}\n")


def _check_as_written(origin: Path, files: Mapping[str, Path]) -> None:
    """Refuse what was changed by hand: files by the hash in them, tables by that in the file that they were written with."""
    tables = dict(read_document(origin, SummaryOrigin).tables)
    for name, path in files.items():
        stem = name.removesuffix(path.suffix)
        match path.suffix:
            case ".json":
                check_unchanged(path, own_digest(path))
                tables[f"{stem}_tiles.csv"] = _tables(path).get("tiles", "")
            case ".safetensors":
                check_unchanged(path, checkpoint_digest(path))
                tables[f"{stem}_history.csv"] = read_header(path).tables.get("history", "")
            case ".html":
                check_unchanged(path, page_digest(path))
    for name, path in files.items():
        if path.suffix in _TABLES:
            check_table(path, tables, name)


def _tables(document: Path) -> dict[str, str]:
    return dict(json.loads(document.read_text(encoding="utf-8")).get("tables", {}))


def _check_intact(archive: Path) -> None:
    for line in (archive / _MANIFEST).read_text(encoding="utf-8").splitlines():
        sha256, _, name = line.partition("  ")
        path = archive / name
        found = sha256_of(path) if path.is_file() else "no such file"
        if found != sha256:
            raise IntegrityError(
                f"{path}: was changed after it was archived, and archives are never overwritten.\n"
                f"  sha256: expected {sha256}, found {found}\n"
                f"Put it aside and archive again:  mv {archive} {archive}_changed && snakemake archive"
            )


def _write(archive: Path, files: Mapping[str, Path], texts: Mapping[str, str]) -> None:
    """Write the folder under another name first: an archive that is there is whole."""
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


def _readme(origin: Path, files: Mapping[str, Path]) -> str:
    """What the folder is, for whoever finds it."""
    provenance = read_document(origin, SummaryOrigin).provenance
    code = {read_header(path).code: name for name, path in files.items() if path.suffix == ".safetensors"}
    lines = [
        "A run of cellvit-optimus: models, watershed parameters, evaluations, summary, report and settings.",
        "",
        f"Values computed with: {provenance.software}",
        f"Archived with:         cellvit-optimus {cellvit.__version__}",
        f"Marks:                 {', '.join(provenance.marks) or 'none'}",
        *(f"Code (fingerprint):    {sha256} of {name} and others" for sha256, name in code.items()),
        "",
        f"Whole and unchanged?   sha256sum -c {_MANIFEST}",
        f"The same run again:    snakemake --configfile {_SETTINGS}   (in the repository, with the same data)",
        "Values:               report/index.html opens offline; summary.csv holds every number.",
        "Weights trained on PanNuke inherit CC BY-NC-SA 4.0: not for commercial use.",
    ]
    return "\n".join(lines) + "\n"
