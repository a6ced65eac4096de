"""Lookups that every rule shares: settings of a step, fingerprint of its code, members of the graph."""

import sys
from pathlib import Path

from cellvit.config.settings import load_settings
from cellvit.config.steps import step_settings
from cellvit.data.pannuke import SIMULATED_MARK, fold_files
from cellvit.io.fingerprint import code_fingerprint
from cellvit.io.hashing import combined, remembered_sha256
from cellvit.taxonomy import POOLED_FAMILY

SETTINGS = load_settings(config)
DEVICE = SETTINGS.device  # where, not what: in no rule's params, so that a change of it reruns nothing
BATCH_SIZE = SETTINGS.features.batch_size  # likewise
SHARDS = SETTINGS.features.shards
PART = "fold{fold}" if SHARDS == 1 else f"fold{{fold}}_{{shard}}of{SHARDS}"
EXTRACTED = f"<results>/features/{PART}.h5" if SHARDS == 1 else f"<results>/features/shards/{PART}.h5"
FOLDS = SETTINGS.data.folds
SPLITS = SETTINGS.splits
FAMILIES = list(SETTINGS.decoder_families)
OWN_FAMILIES = list(SETTINGS.families)
DATA_ROOT = SETTINGS.data.root or f"{SETTINGS.results}/simulated"
CHECKPOINT = "<results>/checkpoints/split{split}/hovernet_{family}.safetensors"
WATERSHED = "<results>/watershed/split{split}/{family}.json"
FAMILY = {
    "features": "<results>/families/{family}/features.h5",
    "targets": "<results>/families/{family}/targets.h5",
}


pathvars:
    results=SETTINGS.results,


wildcard_constraints:
    fold=r"\d+",
    shard=r"\d+",
    split="|".join(SPLITS),
    family="|".join(FAMILIES),


def settings(step):
    """Function for `params`: the part of the settings that `step` reads, as JSON."""
    return lambda wildcards: step_settings(SETTINGS, step, getattr(wildcards, "family", None))


def code(step):
    """Fingerprint of the code that `step` reaches by import."""
    return code_fingerprint(f"cellvit.stages.{step}")


def shard_of_fold(wildcards):
    """Part of a fold that a job extracts, as number/count."""
    return f"{getattr(wildcards, 'shard', 1)}/{SHARDS}"


def folds_of(role):
    """Function for `params`: folds that train, validate or test in a split."""
    return lambda wildcards: SPLITS[wildcards.split].roles[role]


def stores(kind, *roles):
    """Function for `input`: stores (tiles, features) of the folds that have one of `roles` in a split."""
    return lambda wildcards: [
        f"<results>/{kind}/fold{fold}.h5" for role in roles for fold in SPLITS[wildcards.split].roles[role]
    ]


def where_present(path):
    """Function for `input`: a file that may be missing."""
    return lambda wildcards: [found] if Path(found := path.format(**wildcards)).exists() else []


def content(paths, memory, *, optional=()):
    """Function for `params`: hash of raw files, so that content decides what reruns and times do not.

    It takes no `input`: Snakemake does not compare parameters that are derived from it. Files that an earlier step has
    yet to make are "absent" until then: parameters are computed again when the job starts. Files of `optional` count
    where they are there: one that appears or disappears changes the hash.
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


def show_summary():
    """Print the table of the run, where the run made one."""
    table = Path(SETTINGS.results, "summary.txt")
    if table.exists():
        print(table.read_text(encoding="utf-8"), file=sys.stderr)
