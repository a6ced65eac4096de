"""Checkpoints, documents, tables, bundles, caches and unfinished work of a run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bundles
import finished_runs
import numpy as np
import predicted
import run_documents
from fuzzed import Format
from fuzzed_stores import ORIGIN, checked

from cellvit.evaluation.finished_run import read_run, scores_of
from cellvit.formats.bundle import BUNDLE, read_bundle
from cellvit.formats.checkpoints import CheckpointHeader, read_checkpoint, write_checkpoint
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.digests import check_table, sha256_of
from cellvit.formats.documents import Document, read_document, write_document
from cellvit.formats.history import HOVERNET_HISTORY, RoundRecord, read_history, write_history
from cellvit.formats.novelty import Novelty, read_novelty, write_novelty
from cellvit.formats.summary import read_summary, write_summary
from cellvit.formats.timing import read_timings, write_timing
from cellvit.formats.training_state import StateFile, TrainingState
from cellvit.prediction.shards import Shard, read_shard, write_shard
from cellvit.workflow.cache import ResultCache


def write_weights(folder: Path) -> Path:
    fields = {"provenance": ORIGIN, "kind": "hovernet", "split": "1", "family": "all", "status": "trained", "mpp": 0.25}
    weights = {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(3, np.float32)}
    write_checkpoint(folder / "hovernet_all.safetensors", CheckpointHeader(**fields), weights)
    return folder / "hovernet_all.safetensors"


def write_novelty_model(folder: Path) -> Path:
    model = Novelty(run_documents.novelty(), np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    write_novelty(folder / "novelty.safetensors", model)
    return folder / "novelty.safetensors"


def novelty_content(path: Path) -> object:
    found = read_novelty(path)
    return found.header, found.mean, found.whitening


STATE = TrainingState(
    (RoundRecord(10, 1.0, 0.1, {"total": 1.0}, {"total": 2.0}),),
    10,
    {"w": np.ones(4, np.float32)},
    {"part/w": np.zeros(4, np.float32)},
)


def write_state(folder: Path) -> Path:
    StateFile(folder / "a.state", {"seed": "1"}).write(STATE)
    return folder / "a.state"


def read_state(path: Path) -> object:
    """The state, or the one from which a training starts from scratch."""
    found = StateFile(path, {"seed": "1"}).read()
    return found and (found.history, found.selected, found.weights, found.arrays)


def document(name: str, value: Document) -> Format:
    def write(folder: Path) -> Path:
        write_document(folder / f"{name}.json", value)
        return folder / f"{name}.json"

    return Format(f"document: {name}", write, checked(lambda path: read_document(path, type(value))), has_digest=True)


def table(name: str, write: Callable[[Path], None], read: Callable[[Path], Any]) -> Format:
    """A table whose digest stands in a document."""

    def write_both(folder: Path) -> Path:
        write(folder / f"{name}.csv")
        (folder / "digest").write_text(sha256_of(folder / f"{name}.csv"))
        return folder / f"{name}.csv"

    def read_both(path: Path) -> object:
        check_table(path, {name: (path.parent / "digest").read_text()}, name)
        return read(path).to_csv() if hasattr(found := read(path), "to_csv") else found

    return Format(f"table: {name}", write_both, read_both, has_digest=True)


def write_cache(folder: Path) -> Path:
    (folder / "made").mkdir(parents=True)
    (folder / "made" / "a.json").write_text('{"a": 1}')
    (folder / "cache").mkdir()
    ResultCache(folder / "cache", 1e9).add("key", {"output": folder / "made" / "a.json"})
    return folder / "cache" / "key" / "entry.json"


def write_cached_output(folder: Path) -> Path:
    return write_cache(folder).with_name("output")


def restore(path: Path) -> object:
    """The cached output, or False where it has to be computed again; the entry is put back for the next example."""
    home = path.parents[2]
    entry = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    restored = ResultCache(home / "cache", 1e9).restore("key", {"output": home / "restored.json"})
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in entry.items():
        (path.parent / name).write_bytes(content)
    return (home / "restored.json").read_text() if restored else None


def write_memory(folder: Path) -> Path:
    (folder / "data.bin").write_bytes(b"abc")
    ResultCache(folder / "cache", 1e9).remembered_sha256(folder / "data.bin")
    return next((folder / "cache" / "checksums").iterdir())


def write_a_shard(folder: Path) -> Path:
    nuclei = predicted.square_nuclei(np.array([[20, 20], [50, 40]]), [1, 2])
    write_shard(folder / "chunk.npz", "key", Shard(nuclei, np.zeros((1, 2), np.int32), np.zeros(1, bool), 1))
    return folder / "chunk.npz"


def read_a_shard(path: Path) -> object:
    found = read_shard(path, "key")
    return found and (found.candidates.columns(), found.tiles, found.unlike, found.n_encoded)


def write_run(folder: Path, name: str) -> Path:
    systems = {
        "decoder": finished_runs.scores(["A", "B"], aji=(0.5, 0.6)),
        "classical": finished_runs.scores(["A", "B"], aji=(0.3, 0.4)),
    }
    return finished_runs.write_run(folder / "run", systems) / name


def of_run(name: str) -> Format:
    depth = len(Path(name).parts) - 1

    def read(path: Path) -> object:
        run = read_run(path.parents[depth])
        return run.settings, [(key, found.table.to_csv()) for key, found in scores_of(run).items()]

    return Format(f"compared run: {name}", lambda folder: write_run(folder, name), read, has_digest=True)


def of_bundle(name: str) -> Format:
    def read(path: Path) -> object:
        bundle = read_bundle(path.parent)
        weights = [read_checkpoint(decoder.checkpoint) for decoder in bundle.decoders.values()]
        return bundle.digest, bundle.document, weights, bundle.novelty and novelty_content(bundle.novelty)

    return Format(f"bundle: {name}", lambda folder: bundles.small_bundle(folder) / name, read, has_digest=True)


def _rounds(fmt: Any) -> list[RoundRecord]:
    train, validate = (
        {name.partition("_")[2]: 0.5 for name in fmt.columns if name.startswith(part)}
        for part in ("train_", "validate_")
    )
    return [RoundRecord(10, 1.0, 0.1, train, validate)]


PRODUCTS: Sequence[Format] = (
    Format("checkpoint", write_weights, checked(read_checkpoint), has_digest=True),
    Format("novelty model", write_novelty_model, checked(novelty_content), has_digest=True),
    Format("state of a training", write_state, read_state, is_remade=True),
    *(
        document(name, value)
        for name, value in {
            "fold": run_documents.FOLD_SUMMARY,
            "targets": run_documents.TARGET_CHECK,
            "folds": run_documents.FOLDS_CHECK,
            "features": run_documents.FEATURE_CHECK,
            "watershed": run_documents.watershed("digestive"),
            "calibration": run_documents.calibration("digestive"),
            "evaluation": run_documents.evaluation("digestive"),
            "routed": run_documents.ROUTED,
            "organ_head": run_documents.ORGAN_HEAD,
            "gallery": run_documents.gallery("digestive"),
            "prediction": predicted.run_of([], PANNUKE, (100, 100), 1.0),
        }.items()
    ),
    table("summary", lambda path: write_summary(path, run_documents.SUMMARY), read_summary),
    table(
        "history",
        lambda path: write_history(path, HOVERNET_HISTORY, _rounds(HOVERNET_HISTORY), selected=10),
        read_history,
    ),
    Format(
        "timing",
        lambda folder: [write_timing(folder / "a.json", run_documents.TIMINGS[0]), folder / "a.json"][1],
        lambda path: read_timings([path]),
    ),
    *(
        of_run(name)
        for name in (
            "report/index.html",
            "evaluation/split1/digestive.json",
            "evaluation/split1/routed_tiles.csv",
            "summary.json",
        )
    ),
    *(
        of_bundle(name)
        for name in (
            BUNDLE,
            "hovernet_all.safetensors",
            "watershed_all.json",
            "calibration_digestive.json",
            "novelty.safetensors",
            "organ_head.safetensors",
            "README.md",
        )
    ),
    Format("result cache: entry", write_cache, restore, is_remade=True),
    Format("result cache: output", write_cached_output, restore, is_remade=True),
    Format(
        "result cache: remembered checksum",
        write_memory,
        lambda path: ResultCache(path.parents[1], 1e9).remembered_sha256(path.parents[2] / "data.bin"),
        is_remade=True,
    ),
    Format("chunk of a prediction", write_a_shard, read_a_shard, is_remade=True),
)
