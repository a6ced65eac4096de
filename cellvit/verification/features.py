"""Links from tile stores to features, through shards where there are any, and to the proof of the features."""

import json
from pathlib import Path
from typing import Any

from cellvit.config.steps import step_section
from cellvit.contracts.documents import FeatureCheck
from cellvit.contracts.stores import FEATURES, ROW_SHA256
from cellvit.io.features import open_features
from cellvit.io.hashing import sha256_of
from cellvit.io.hdf5 import Store
from cellvit.io.kept import EXTRACTION
from cellvit.io.shards import SHARD
from cellvit.verification.examining import Examination
from cellvit.verification.links import Link, Remedy
from cellvit.verification.run import Run, Source
from cellvit.verification.stores import Stored, examine_rows, examine_store_seal, stored

WEIGHTS = "weights"
"""Name of the encoder's weights among the sources of features."""


def shard_links(run: Run, fold: int) -> list[Link]:
    """Each shard of a fold against the fold's tiles."""
    return [
        _extracted_link(run, path, fold, shard=f"{number}/{len(run.layout.shards(fold))}")
        for number, path in enumerate(run.layout.shards(fold), 1)
    ]


def feature_link(run: Run, fold: int) -> Link:
    """A fold's features against its tiles, or against the shards that hold them."""
    shards = run.layout.shards(fold)
    return _joined_link(run, fold, shards) if shards else _extracted_link(run, run.layout.features(fold), fold, "1/1")


def feature_check_link(run: Run, fold: int) -> Link:
    """The proof of a fold's features against them."""
    exam = Examination(run, run.layout.feature_check(fold))
    document = exam.document(FeatureCheck, {"fold_id": f"fold{fold}"})
    if document is not None:
        sources = {"features": Source(run.layout.features(fold)), **_sources(run, fold, document.provenance.made_from)}
        exam.sources(document.provenance, sources)
        exam.settings(document.provenance.settings, _settings(run))
    return exam.link(f"features of fold {fold}", Remedy((exam.product,), (exam.product,)))


def know_weights(run: Run) -> None:
    """Hash the encoder's weights where they are files here: features must have been made with one of them."""
    given = run.settings.encoder.weights
    if given in {"hub", "random"}:
        return
    weights = Path(given)
    for path in sorted(weights.glob("*")) if weights.is_dir() else [weights]:
        if path.is_file():
            run.progress.file(path)
            sha256 = sha256_of(path)
            run.know(Source(weights, sha256), sha256)
            run.know(Source(weights), sha256)


def _extracted_link(run: Run, path: Path, fold: int, shard: str) -> Link:
    exam = Examination(run, path)
    with stored(exam, FEATURES, open_features) as found:
        if found is not None:
            examine_rows(exam, found)
            _examine_origin(exam, found, fold)
            if found.store is not None:
                exam.expect("shard", shard, found.store.attribute(SHARD))
                made = json.loads(found.store.attribute(EXTRACTION) or "{}")
                exam.code(str(made.get("code", "")), "extract_features")
            examine_store_seal(exam, found)
    return exam.link(f"tiles of fold {fold}", _remedy(run, path))


def _joined_link(run: Run, fold: int, shards: tuple[Path, ...]) -> Link:
    """The store over a fold's shards; their rows were hashed one by one."""
    path = run.layout.features(fold)
    exam = Examination(run, path)
    with stored(exam, FEATURES, open_features) as found:
        if found is not None:
            _examine_origin(exam, found, fold)
            for shard in shards:
                if run.says(Source(shard)) is None:
                    exam.wait(shard)
            if found.store is not None and not exam.waits_for:
                _examine_joined(exam, found.store, shards)
            if not exam.faults and not exam.waits_for:
                run.know_store(path, found.header)
            examine_store_seal(exam, found)
    return exam.link(f"{len(shards)} shards", _remedy(run, path))


def _examine_joined(exam: Examination, store: Store, shards: tuple[Path, ...]) -> None:
    stored_rows, start = store.all(ROW_SHA256), 0
    for path in shards:
        shard = exam.read(open_features, "a shard", path)
        if shard is None:
            return
        with shard:
            rows = shard.all(ROW_SHA256)
        if stored_rows[start : start + len(rows)].tobytes() != rows.tobytes():
            exam.fault(f"rows {start} to {start + len(rows) - 1}", f"those of {path}", "others")
        start += len(rows)
    exam.expect("rows", start, len(stored_rows))


def _examine_origin(exam: Examination, found: Stored, fold: int) -> None:
    origin = found.header.provenance
    sources = _sources(exam.run, fold, origin.made_from)
    exam.sources(origin, sources)
    if WEIGHTS in sources and exam.run.says(sources[WEIGHTS]) is None:
        exam.fault(f"made_from.{WEIGHTS}", origin.made_from.get(WEIGHTS), f"no file {sources[WEIGHTS].path}")
    exam.settings(origin.settings, _settings(exam.run))


def _sources(run: Run, fold: int, recorded: dict[str, str]) -> dict[str, Source]:
    """Tiles, and weights: those of a local file, or where they came from the hub those that the first fold names."""
    sources = {"tiles": Source(run.layout.tiles(fold))}
    given, sha256 = run.settings.encoder.weights, recorded.get(WEIGHTS, "")
    if given == "random":
        return sources
    own = Source(Path(given), sha256)
    weights = own if run.says(own) else Source(Path(given))
    if given == "hub" and run.says(weights) is None:
        run.know(weights, sha256)
    return {**sources, WEIGHTS: weights}


def _settings(run: Run) -> dict[str, Any]:
    return step_section(run.settings, "extract_features").model_dump(mode="json")


def _remedy(run: Run, path: Path) -> Remedy:
    return Remedy((path, run.layout.seal(path), run.layout.weights_memory), (path,))
