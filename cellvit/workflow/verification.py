"""Whether results are intact: each file against its own digest, and against the digests of what it was made from."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from cellvit.config.data import FINAL_SPLIT
from cellvit.errors import CellvitError
from cellvit.formats.bundle import BUNDLE, NOVELTY_NAME, read_bundle
from cellvit.formats.checkpoints import checkpoint_digest, read_header
from cellvit.formats.content import content_of
from cellvit.formats.digests import OwnDigest, check_table, remake
from cellvit.formats.documents import document_digest
from cellvit.formats.hdf5 import ROW_SHA256
from cellvit.formats.hdf5_header import open_hdf5, read_store_header, undamaged
from cellvit.formats.novelty import novelty_digest, read_novelty_header
from cellvit.formats.page import page_digest, read_page_provenance
from cellvit.formats.prediction import RUN
from cellvit.formats.provenance import Provenance
from cellvit.formats.writing import row_sha256

OUTSIDE: Final = "data:"
"""Begin of the names of data from outside the results, such as raw arrays and weights."""

START: Final = f"{OUTSIDE}start"
"""Name of the file that a training starts from (training.start_from)."""

_FOLDERS: Final = (
    "tiles",
    "features",
    "families",
    "checkpoints",
    "maps",
    "watershed",
    "calibration",
    "evaluation",
    "report",
)
_SUFFIXES: Final = frozenset({".h5", ".json", ".safetensors", ".html"})


@dataclass
class Verification:
    """What a check of an output folder found.

    Attributes:
        faults: What is wrong, one sentence each, with the fix.
        n_files: Files that were compared with their own digest; `n_links` digests of inputs were compared.
        not_checked: Inputs that are not there to compare with, and why.
    """

    faults: list[str] = field(default_factory=list)
    n_files: int = 0
    n_links: int = 0
    not_checked: list[str] = field(default_factory=list)


def products(results: Path) -> list[Path]:
    """Files of a run that carry a digest of themselves, in the order of the graph."""
    found = [path for folder in _FOLDERS for path in sorted((results / folder).rglob("*"))]
    found = [path for path in found if path.suffix in _SUFFIXES and not path.name.startswith(".")]
    found = [path for path in found if ".partial" not in path.parts]
    single = [results / "summary.json", *sorted((results / "bundles").glob(f"[!.]*/{BUNDLE}"))]
    single += sorted((results / "predictions").glob(f"[!.]*/{RUN}"))
    return found + [path for path in single if path.exists()]


def verify(path: Path, verification: Verification, outside: dict[str, Path], *, features_removed: bool) -> None:
    """Check one product: its own digest, its tables, and the digests of everything that it was made from.

    Args:
        outside: Files from outside the results by the names that provenance gives them.
        features_removed: True where features were removed on purpose.
    """
    verification.n_files += 1
    faults = faults_of(path)
    verification.faults += faults
    if faults:
        return
    for name, expected in provenance_in(path).made_from.items():
        source = outside.get(name) if name.startswith(OUTSIDE) else Path(os.path.normpath(path.parent / name))
        if source is None or (features_removed and source.parent.name == "features" and not source.exists()):
            verification.not_checked.append(f"{path}: {name} is not there to compare with")
            continue
        verification.n_links += 1
        try:
            found = content_of(source).digest
        except CellvitError as error:
            found = str(error).splitlines()[0]
        if found != expected:
            verification.faults.append(
                f"{path}: was not made from the present {source} (expected {expected[:12]}, found {found[:80]}). "
                f"Fix: run {_target(path)}; if it finds nothing to do, {_target(path)} --forceall"
            )


def faults_of(path: Path) -> list[str]:
    """What is wrong with a file by itself: it cannot be read, or it or its tables were changed after it was written."""
    try:
        match path.suffix:
            case ".h5":
                return _store_faults(path)
            case ".json":
                if path.name == BUNDLE:
                    read_bundle(path.parent)
                fields = json.loads(path.read_text(encoding="utf-8"))
                digests, tables = document_digest(path), fields.get("files" if path.name == RUN else "tables", {})
            case ".safetensors" if path.name == NOVELTY_NAME:
                digests, tables = novelty_digest(path), {}
            case ".safetensors":
                digests, tables = checkpoint_digest(path), read_header(path).tables
            case ".html":
                digests, tables = page_digest(path), {}
            case _:
                return []
        for name in tables:  # a name of a file, or what follows the stem of the document
            table = path.with_name(name if Path(name).suffix else f"{path.stem}_{name}.csv")
            check_table(table, tables, name)
    except CellvitError as error:
        return [str(error)]
    except ValueError as error:
        return [f"{path}: cannot be read ({error}). Fix: {remake(path)}"]
    return _digest_faults(path, digests)


def provenance_in(path: Path) -> Provenance:
    """What a product records of its origin."""
    match path.suffix:
        case ".h5":
            with open_hdf5(path) as file:
                return read_store_header(file, path).provenance
        case ".safetensors" if path.name == NOVELTY_NAME:
            return read_novelty_header(path).provenance
        case ".safetensors":
            return read_header(path).provenance
        case ".html":
            provenance: Provenance = read_page_provenance(path)
            return provenance
    return Provenance.model_validate(json.loads(path.read_text(encoding="utf-8"))["provenance"])


def _target(path: Path) -> str:
    """The call of Snakemake that makes a product again."""
    if path.name != BUNDLE:
        return "snakemake"
    return f"snakemake bundle{'_final' * (path.parent.name == FINAL_SPLIT)}"


def _digest_faults(path: Path, digests: OwnDigest) -> list[str]:
    if digests.recorded == digests.actual:
        return []
    return [f"{path}: was changed after it was written. Fix: {remake(path)}"]


def _store_faults(path: Path) -> list[str]:
    """Every row against its digest, and all digests against that of the store."""
    with open_hdf5(path) as file:
        header = read_store_header(file, path)
        with undamaged(path, f"`{ROW_SHA256}`"):
            digests = np.asarray(file[ROW_SHA256][()])
        changed = list(_changed_rows(file, header.columns, digests))
        if changed:
            shown = ", ".join(map(str, changed[:8]))
            return [
                f"{path}: {len(changed)} rows were changed after they were written (rows {shown}). Fix: {remake(path)}"
            ]
        content = hashlib.sha256(digests.tobytes()).hexdigest()
        return _digest_faults(path, OwnDigest(header.content_sha256, content))


def _changed_rows(file: h5py.File, columns: Sequence[str], digests: np.ndarray) -> Iterator[int]:
    names = [name for name in columns if name != ROW_SHA256]
    for row, digest in enumerate(digests):
        try:
            actual = row_sha256({name: file[name][row] for name in names})
        except Exception:  # a chunk that contradicts its checksum, or that HDF5 does not find
            actual = b""
        if actual != digest.tobytes():
            yield row
