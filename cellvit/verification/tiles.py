"""Links from raw folds to tile stores."""

from pathlib import Path

from cellvit.contracts.documents import FoldSummary
from cellvit.contracts.removed import StoreHeader
from cellvit.contracts.stores import TILES
from cellvit.io.hashing import sha256_of
from cellvit.io.tiles import open_tiles
from cellvit.verification.examining import Examination
from cellvit.verification.links import Link, Remedy
from cellvit.verification.run import Run, Source
from cellvit.verification.stores import Stored, examine_rows, examine_store_seal, stored


def tile_link(run: Run, fold: int) -> Link:
    """A fold's raw files, read again whatever is remembered of them, against its tile store."""
    path, layout = run.layout.tiles(fold), run.layout
    exam = Examination(run, path)
    with stored(exam, TILES, open_tiles) as found:
        if found is not None:
            examine_rows(exam, found)
            _examine_ids(exam, found, fold)
            examine_store_seal(exam, found)
    _examine_raw(exam, None if found is None else found.header, fold)
    raw = layout.raw(fold)
    missing = [file for file in raw.by_name.values() if not file.is_file()]
    if missing and not run.settings.data.simulated:
        remedy = Remedy(words=f"put back {', '.join(map(str, missing))}, or set data.root (docs/pannuke.md)")
    else:
        remedy = Remedy((path, layout.seal(path), layout.raw_memory(fold)), (*missing, path))
    return exam.link(f"raw fold {fold}: {', '.join(raw.inputs)}", remedy)


def fold_summary_link(run: Run, fold: int) -> Link:
    """What was counted in a fold, against its raw files as its tile store names them."""
    exam = Examination(run, run.layout.tiles(fold).with_suffix(".json"))
    document = exam.document(FoldSummary, {"fold": fold})
    if document is not None:
        names = run.layout.raw(fold).inputs
        exam.sources(document.provenance, {name: Source(path) for name, path in names.items()})
    return exam.link(f"raw fold {fold}", Remedy((exam.product,), (exam.product,)))


def _examine_ids(exam: Examination, found: Stored, fold: int) -> None:
    if found.store is None:
        return
    for row, name in enumerate(found.store.names("tile_id")):
        if name != f"f{fold}-{row:05d}":
            exam.fault(f"tile_id of row {row}", f"f{fold}-{row:05d}", name)
            return


def _examine_raw(exam: Examination, header: StoreHeader | None, fold: int) -> None:
    """Hash the raw files, which are known by their content, and hold the store against them where it has a header."""
    files = exam.run.layout.raw(fold)
    for path in files.inputs.values():
        if path.is_file():
            exam.run.know(Source(path), _hashed(exam.run, path))
        else:
            exam.fault("file", "a raw file", "no such file", file=path)
    if header is not None:
        exam.expect("simulated", files.simulated, header.provenance.simulated)
        exam.sources(header.provenance, {name: Source(path) for name, path in files.inputs.items()})


def _hashed(run: Run, path: Path) -> str:
    run.progress.file(path)
    return sha256_of(path, on_block=run.progress.add)
