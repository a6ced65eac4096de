"""From PanNuke folds to a validated report. docs/how_it_works.md draws the graph."""

import signal
import sys
import time

from pathlib import Path
from textwrap import fill

from snakemake.logging import logger
from snakemake.utils import min_version

from cellvit.errors import BusyFolderError
from cellvit.formats.locks import lock, release
from cellvit.workflow.ending import COLUMNS, failure_lines, success_lines
from cellvit.workflow.failures import failure_of
from cellvit.workflow.progress import Progress

min_version("9.20")
STARTED = time.time()  # what is older at the end was written by an earlier run, and is not shown
PROGRESS = Progress(hidden=("gather_families",))
logger.addHandler(PROGRESS)


configfile: f"{workflow.basedir}/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/features.smk"
include: "rules/organ_head.smk"
include: "rules/decoders.smk"
include: "rules/calibration.smk"
include: "rules/evaluation.smk"
include: "rules/bundle.smk"
include: "rules/final.smk"
include: "rules/predict.smk"


# Each target lists every product of its part of the graph, so that a product that was lost is made again.
PREPARED = rules.prepare_own_data.output if graph.is_own else expand(rules.prepare_fold.output, fold=FOLDS)
TILES = [*PREPARED, *expand(rules.check_targets.output, fold=FOLDS), *rules.check_folds.output]
FEATURES = [] if graph.features_removed else expand(rules.extract_features.output, fold=FOLDS)
CHECKED = TILES + FEATURES + expand(rules.check_features.output, fold=FOLDS)
MEMBERS = CHECKED + expand(rules.gather_families.output, family=FAMILIES, fold=FOLDS)
ORGAN_HEADS = CHECKED + expand(rules.train_organ_head.output, split=ROUTED)
DECODERS = [
    *expand([*rules.train_hovernet.output, *rules.tune_watershed.output], split=SPLITS, family=[*FAMILIES, *REPEATS]),
    *expand(rules.average_maps.output, split=SPLITS, family=AVERAGED),
]
CALIBRATIONS = expand(rules.calibrate.output, split=SPLITS)
EVALUATIONS = [
    *expand(rules.evaluate_family.output, split=SPLITS, family=[*FAMILIES, *REPEATS]),
    *expand([*rules.evaluate_organ_head.output, *rules.evaluate_routed.output], split=ROUTED),
    *rules.summarize.output,
]


rule report:
    default_target: True
    input:
        MEMBERS + ORGAN_HEADS + DECODERS + CALIBRATIONS + EVALUATIONS,
        rules.build_report.output,
    localrule: True
    message:
        "All products of the run"


rule features:
    input:
        CHECKED,
    localrule: True
    message:
        "All features, checked"


rule organ_head:
    input:
        ORGAN_HEADS,
    localrule: True
    message:
        "OrganHead of every split"


rule families:
    input:
        MEMBERS,
    localrule: True
    message:
        "The members of every family"


rule decoders:
    input:
        MEMBERS + DECODERS,
    localrule: True
    message:
        "The decoders of every family and split, tuned"


rule validation:
    input:
        MEMBERS + ORGAN_HEADS + DECODERS + CALIBRATIONS + EVALUATIONS,
    localrule: True
    message:
        "All evaluations and their summary"


rule final:
    input:
        expand([*rules.train_hovernet_final.output, *rules.tune_watershed_final.output], family=FAMILIES),
        rules.train_organ_head_final.output if graph.has_organ_head else [],
        rules.calibrate_final.output,
        rules.build_report_final.output,
    localrule: True
    message:
        "The final models: trained on all folds, tested on none"


rule bundle:
    input:
        expand(rules.gather_bundle.output, split=SPLITS),
    localrule: True
    message:
        "The models of every split, each in a folder that can be copied"


rule predict:
    input:
        rules.index_predictions.output,
        runs=lambda _: expand(rules.predict_image.output, slide=predicted.jobs),
    localrule: True
    message:
        "The nuclei of all images that prediction.images names"


rule bundle_final:
    input:
        rules.gather_bundle_final.output,
    localrule: True
    message:
        "The final models, in a folder that can be copied"


RESULTS = Path(SETTINGS.results)
RUN_LOCK = RESULTS / ".cellvit_run.lock"
RUN = []  # the lock while the jobs run
MODELS = expand([*rules.train_organ_head.output], split=ROUTED) + DECODERS
PRODUCTS_TO_ARCHIVE = [
    path for path in [*MODELS, *CALIBRATIONS, *EVALUATIONS, *rules.build_report.output] if is_archived(path)
]


include: "rules/archive.smk"


onstart:
    # SIGTERM ends a run like Ctrl-C. Snakemake's own handler waits for a lock that its scheduler may hold: the run then hangs.
    # So does SIGHUP, which would leave the steps running; not under nohup, which ignores it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    # Snakemake's own lock does not see a run that was started in another folder.
    try:
        RUN.append(lock(RUN_LOCK, "runs snakemake on this output folder"))
    except (BusyFolderError, OSError) as error:
        print(fill(failure_of(error).message, COLUMNS), file=sys.stderr)
        sys.exit(failure_of(error).code)
    PROGRESS.start(logger, f"{RESULTS}/logs")


onerror:
    for held in RUN:
        release(RUN_LOCK, held)
    failed = [(job.title, job.log) for job in PROGRESS.failed.values()]
    for line in failure_lines(failed, n_done=PROGRESS.done, n_steps=PROGRESS.total, seconds=PROGRESS.elapsed_s):
        print(line, file=sys.stderr)


onsuccess:
    for held in RUN:
        release(RUN_LOCK, held)
    for line in success_lines(RESULTS, since=STARTED, n_steps=PROGRESS.total, seconds=PROGRESS.elapsed_s):
        print(line, file=sys.stderr)
