"""From PanNuke folds to a report that can be believed. docs/graph.md draws the graph."""

import sys

from snakemake.utils import min_version

min_version("9.20")
sys.path.insert(0, workflow.basedir)

from cellvit.workflow.plan import machine_under, planned_by
from cellvit.workflow.timings import read_timings
from cellvit.report.remaining import estimate_line, remaining


configfile: f"{workflow.basedir}/config.yaml"


CLEAN = str(config.pop("clean", "no"))  # no setting: the answer to clean_features where no terminal can be asked


include: "rules/common.smk"


if workflow.is_main_process:
    recall_what_was_made()


# Targets for people: the graph up to a phase. The first is what plain `snakemake` makes.


rule report:
    input:
        "<results>/report/index.html",
        "<results>/summary.csv",


rule features:
    input:
        expand(FEATURE_CHECK, fold=FOLDS),


rule organ_head:
    input:
        expand("<results>/checkpoints/split{split}/organ_head.safetensors", split=SPLITS),
        expand(FEATURE_CHECK, fold=FOLDS),


rule families:
    input:
        expand(TARGET_CHECK, family=FAMILIES),


rule decoders:
    input:
        everywhere(WATERSHED),
        expand(FEATURE_CHECK, fold=FOLDS),
        expand(TARGET_CHECK, family=FAMILIES),


rule validation:
    input:
        "<results>/summary.csv",


include: "rules/data.smk"
include: "rules/features.smk"
include: "rules/organ_head.smk"
include: "rules/families.smk"
include: "rules/decoders.smk"
include: "rules/validation.smk"
include: "rules/report.smk"
include: "rules/archive.smk"


onstart:
    note_head(Path())
    left = remaining(planned_by(workflow), read_timings(Path(TIMINGS_FOLDER)))
    print(estimate_line(left, machine_under(workflow)), "Later:  python -m cellvit status", file=sys.stderr)


onsuccess:
    forget_head(Path())
    keep_records(SETTINGS.results, Records(workflow.persistence))
    if not {"archive", "clean_features"} & set(sys.argv):  # what they say would scroll away
        show_summary()


onerror:
    forget_head(Path())
    keep_records(SETTINGS.results, Records(workflow.persistence))
    print("What stopped, with its last line, and what is left:  python -m cellvit status", file=sys.stderr)
