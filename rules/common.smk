"""Lookups that every rule shares: settings of a step, fingerprint of its code, members of the graph, reasons to run.

Content decides what runs (docs/rebuilds.md). Large files are `ancient()` inputs, whose times say nothing; beside them stand
`reasons`, small files: seals of stores and checkpoints, documents, tables. They are hashed into `params`, so that a step runs
where one changed or is missing, and `gates`, checks that must have passed, whatever they say. Every step is a
`checkpoint`, after which Snakemake judges again what depends on it directly; `behind` names the steps further up, else
they would be judged by what was planned and not by what came out.
"""

import hashlib
import json
import sys
from pathlib import Path

from cellvit.workflow.resources import PANNUKE_FOLD_TILES, memory_mb, runtime_min, weights_mb
from cellvit.config.settings import load_settings
from cellvit.config.steps import step_settings
from cellvit.data.pannuke import SIMULATED_MARK, fold_files
from cellvit.workflow.fingerprint import code_fingerprint
from cellvit.workflow.fold_sizes import Tiles
from cellvit.formats.digests import combined, remembered_sha256
from cellvit.workflow.head import forget_head, note_head
from cellvit.workflow.records import Records, keep_records, recall_records
from cellvit.workflow.timings import TIMINGS
from cellvit.taxonomy import SHARED_FAMILY

SETTINGS = load_settings(config)
DEVICE = SETTINGS.device  # where, not what: in no rule's params, so that a change of it reruns nothing
BATCH_SIZE = SETTINGS.features.batch_size  # likewise
SHARDS = SETTINGS.features.shards
PART = "fold{fold}" if SHARDS == 1 else f"shards/fold{{fold}}_{{shard}}of{SHARDS}"
FOLDS = SETTINGS.data.folds
SPLITS = SETTINGS.splits
FAMILIES = list(SETTINGS.decoder_families)
OWN_FAMILIES = list(SETTINGS.families)
MODELS = ["organ_head", *(f"hovernet_{family}" for family in FAMILIES)]
RESULTS = Path(SETTINGS.results)
TILES_OF = Tiles(RESULTS, FOLDS, SETTINGS.decoder_families, SPLITS)  # in messages: read when they are said
DATA_ROOT = SETTINGS.data.root or f"{SETTINGS.results}/simulated"
TIMINGS_FOLDER = f"{SETTINGS.results}/{TIMINGS}"


pathvars:
    results=SETTINGS.results,


wildcard_constraints:
    fold=r"\d+",
    shard=r"\d+",
    split="|".join(SPLITS),
    family="|".join(FAMILIES),
    model="|".join(MODELS),


def seal(product):
    """Seal of a store or checkpoint: the hash of what it says."""
    return f"<results>/seals/{product}.json"


TILES = "<results>/tiles/fold{fold}.h5"
FEATURES = "<results>/features/fold{fold}.h5"
FEATURE_CHECK = "<results>/features/fold{fold}_check.json"
TARGET_CHECK = "<results>/families/{family}/check.json"
TRAINED = "<results>/checkpoints/split{split}/training/{model}"
CHECKPOINT = "<results>/checkpoints/split{split}/hovernet_{family}.safetensors"
WATERSHED = "<results>/watershed/split{split}/{family}.json"
EVALUATION = "<results>/evaluation/split{split}/{family}"
ORGAN_HEAD_EVALUATION = "<results>/evaluation/split{split}/organ_head.json"
FAMILY = {
    "features": ancient("<results>/families/{family}/features.h5"),
    "targets": ancient("<results>/families/{family}/targets.h5"),
}
SEALED_TILES, SEALED_FEATURES = seal("tiles/fold{fold}"), seal("features/fold{fold}")
SEALED_FAMILY = seal("families/{family}/fold{fold}")
SEALED_DECODER = seal("checkpoints/split{split}/hovernet_{family}")
SEALED_ORGAN_HEAD = seal("checkpoints/split{split}/organ_head")


def settings(step):
    """Function for `params`: the part of the settings that `step` reads, as JSON."""
    return lambda wildcards: step_settings(SETTINGS, step, getattr(wildcards, "family", None))


def code(step):
    """Fingerprint of the code that `step` reaches by import."""
    return code_fingerprint(f"cellvit.stages.{step}")


def memory(step):
    """Function for `resources`: memory that a step asks for, by its tiles and the attempt (cellvit/config/demand.py)."""
    weights = weights_mb(SETTINGS.encoder.spec.depth, SETTINGS.encoder.spec.dim)
    return lambda wildcards, attempt: memory_mb(
        step, tiles_of(wildcards), attempt, weights_mb=weights, percent=asked_percent("memory_percent")
    )


def minutes(step, *, times=1):
    """Function for `resources`: time that a step asks for, likewise; it reads each tile `times` times."""
    return lambda wildcards, attempt: runtime_min(
        step, tiles_of(wildcards) * times, attempt, percent=asked_percent("runtime_percent")
    )


def tiles_of(wildcards):
    """Tiles that a job reads at most: those of its fold, of its split's folds or of all; of its family where it has one."""
    if hasattr(wildcards, "fold"):
        return tiles_of_fold(wildcards.fold)
    organs = SETTINGS.decoder_families[wildcards.family] if hasattr(wildcards, "family") else None
    split = SPLITS[wildcards.split].roles.values() if hasattr(wildcards, "split") else [FOLDS]
    return sum(tiles_of_fold(fold, organs) for fold in {fold for folds in split for fold in folds})


def tiles_of_fold(fold, organs=None):
    """Tiles of a fold (with these organs), as its summary counts them; a guess where it is not prepared yet."""
    summary = RESULTS / "tiles" / f"fold{fold}.json"
    if not summary.exists():
        return SETTINGS.data.simulated.tiles_per_fold if SETTINGS.data.simulated else PANNUKE_FOLD_TILES
    counts = json.loads(summary.read_text(encoding="utf-8"))["tiles_by_organ"]
    return sum(count for organ, count in counts.items() if organs is None or organ in organs)


def asked_percent(name):
    """A cluster's share of what steps ask for, from default-resources of the profile; 100 where it says nothing."""
    given = workflow.resource_settings.default_resources or {}
    return int(given[name].value) if name in given else 100


def shard_of_fold(wildcards):
    """Part of a fold that a job extracts, as number/count."""
    return f"{getattr(wildcards, 'shard', 1)}/{SHARDS}"


def folds_of(*roles):
    """Function for `params`: folds that have one of `roles` in the split."""
    return lambda wildcards: [fold for role in roles for fold in SPLITS[wildcards.split].roles[role]]


def of_folds(path, *roles):
    """Function for `input`: a file of each fold that has one of `roles` in the split."""
    folds = folds_of(*roles)
    return lambda wildcards: expand(path, fold=folds(wildcards), **wildcards)


def where_present(path):
    """Function for `input`: a file that may be missing."""
    return lambda wildcards: [found] if Path(found := path.format(**wildcards)).exists() else []


def together(*groups):
    """Function for `input`: files of several groups (a path, paths, or a function for `input`)."""
    return lambda wildcards: [path for group in groups for path in _paths(group, wildcards)]


def hashed(*reasons, gates=()):
    """Function for `params`: hash of small files, and which of `gates` are there.

    It takes no `input`: Snakemake does not compare parameters that are derived from it. A file that an earlier step has yet
    to make is "absent" until then: parameters are computed again when the job starts.
    """

    def of_wildcards(wildcards):
        files = {path: _located(path) for path in together(*reasons)(wildcards)}
        passed = {path: _located(path) for path in together(*gates)(wildcards)}
        said = {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items() if file.exists()}
        return combined(
            {**dict.fromkeys(files, "absent"), **said, **{path: str(file.exists()) for path, file in passed.items()}}
        )

    return of_wildcards


def content(paths, memory, *, optional=()):
    """Function for `params`: hash of raw files, so that content decides what reruns and times do not.

    Files that an earlier step has yet to make are "absent" until then. Files of `optional` count where they are there: one
    that appears or disappears changes the hash.
    """

    def of_wildcards(wildcards):
        files = [Path(path.format(**wildcards)) for path in paths]
        present = all(path.exists() for path in files)
        files += [path for name in optional if (path := Path(name.format(**wildcards))).exists()]
        return content_of(files, memory.format(**wildcards)) if present else "absent"

    return of_wildcards


def content_of(paths, memory):
    """Hash of files, remembered in the output folder; says so where reading them takes a while."""

    def announce(path):
        gigabytes = path.stat().st_size / 1e9
        if gigabytes > 1:
            print(f"Reading {path} once to know its content ({gigabytes:.1f} GB)", file=sys.stderr)

    return combined(remembered_sha256(paths, Path(SETTINGS.results, ".cellvit", memory), before_reading=announce))


def local_weights():
    """Files of the encoder's weights where they are local; none for hub and random."""
    weights = Path(SETTINGS.encoder.weights)
    if SETTINGS.encoder.weights in {"hub", "random"}:
        return []
    return sorted(map(str, weights.glob("*"))) if weights.is_dir() else [str(weights)]


def weights_content(wildcards):
    """Hash of local weights, so that other weights under the same name are noticed."""
    return content_of(map(Path, local_weights()), "weights.json")


def recall_what_was_made():
    """Let Snakemake know how what lies in the output folder was made, and say where nobody knows."""
    unknown = recall_records(SETTINGS.results, Records.of_folder())
    if unknown and "--touch" not in sys.argv:
        print(
            f"WARNING: {RESULTS} holds products without a record of the settings and code that made them ({len(unknown)}, the "
            f"first {unknown[0]}): a change since then is NOT noticed. Check and accept what there is:  "
            "make verify && snakemake --touch --forceall",
            file=sys.stderr,
        )


def show_summary():
    """Print the table of the run, where the run made one."""
    table = Path(SETTINGS.results, "summary.txt")
    if table.exists():
        print(table.read_text(encoding="utf-8"), file=sys.stderr)


def _paths(group, wildcards):
    if callable(group):
        group = group(wildcards)
    return [path.format(**wildcards) for path in ([group] if isinstance(group, str) else group)]


def _located(path):
    return Path(path.replace("<results>", SETTINGS.results))


# Steps by how far down they stand, for `behind`.
OF_FOLDS = [
    *expand(SEALED_TILES, fold=FOLDS),
    *expand(seal(f"features/{PART}"), fold=FOLDS, shard=range(1, SHARDS + 1)),
    *expand([SEALED_FEATURES, FEATURE_CHECK], fold=FOLDS),
]
OF_FAMILY = [*expand(SEALED_FAMILY, fold=FOLDS, allow_missing=True), TARGET_CHECK]
OF_TRAINING = ["<results>/checkpoints/split{split}/training/hovernet_{family}.safetensors", SEALED_DECODER]
OF_DECODER = [*OF_TRAINING, WATERSHED]
OF_ORGAN_HEAD = [ORGAN_HEAD_EVALUATION, SEALED_ORGAN_HEAD]


def behind_model(wildcards):
    """Function for `input`: steps behind a trained model."""
    family = wildcards.model.removeprefix("hovernet_")
    return OF_FOLDS + (expand(OF_FAMILY, family=family) if family in FAMILIES else [])


def of_families(paths, families):
    """Paths of every family, other wildcards left open."""
    return expand(paths, family=families, allow_missing=True)


def everywhere(paths):
    """Paths of every split and family."""
    return expand(paths, split=SPLITS, family=FAMILIES)


OF_FAMILY_AND_DECODER = OF_FAMILY + OF_DECODER
OF_EVERYTHING = [*OF_FOLDS, *everywhere(OF_FAMILY_AND_DECODER), *expand(OF_ORGAN_HEAD, split=SPLITS)]
