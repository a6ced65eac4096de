"""A finished run put aside, and its features removed. Nothing else depends on either: both run when they are asked for."""

from datetime import datetime

ARCHIVED = [
    "<results>/summary.csv",
    "<results>/summary.txt",
    "<results>/report/index.html",
    *everywhere([WATERSHED, f"{EVALUATION}.json", f"{EVALUATION}_tiles.csv"]),
    *expand("<results>/evaluation/split{split}/{name}", split=SPLITS, name=["routed.json", "routed_tiles.csv"]),
    *expand(ORGAN_HEAD_EVALUATION, split=SPLITS),
]
ARCHIVED_MODELS = expand(
    [
        "<results>/checkpoints/split{split}/{model}.safetensors",
        "<results>/checkpoints/split{split}/{model}_history.csv",
    ],
    split=SPLITS,
    model=MODELS,
)


def now(_):
    """Function for `params`: another value in each call, so that the rule runs whenever it is asked for."""
    return datetime.now().isoformat()


rule archive:
    input:
        files=ARCHIVED,
        models=ancient(ARCHIVED_MODELS),
        origin="<results>/summary.json",
        behind=ancient(OF_EVERYTHING),
    output:
        receipt="<results>/.cellvit/archive.txt",
    log:
        "<results>/logs/archive/archive.log",
    benchmark:
        "<results>/timings/archive/archive.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=30,
    params:
        called=now,
        settings=settings("archive"),
        code=code("archive"),
        results=SETTINGS.results,
    message:
        "Models, parameters, evaluations, summary, report and settings into a dated folder"
    shell:
        "python -m cellvit archive --settings {params.settings:q} --results {params.results:q} "
        "--files {input.files:q} {input.models:q} --origin {input.origin:q} --folder {params.results:q}/archive "
        "--receipt {output.receipt:q} 2>&1 | tee {log}"


rule clean_features:
    input:
        # validation passed: no integrity gate failed, and figures and galleries are there, as recent as the run
        passed=expand(FEATURE_CHECK, fold=FOLDS) + expand(TARGET_CHECK, family=FAMILIES),
        summary="<results>/summary.csv",
        report="<results>/report/index.html",
        behind=ancient(OF_EVERYTHING),
    output:
        receipt="<results>/.cellvit/clean_features.txt",
    log:
        "<results>/logs/clean_features/clean.log",
    benchmark:
        "<results>/timings/clean_features/clean.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=30,
    params:
        called=now,
        yes=CLEAN,
        code=code("clean_features"),
        results=SETTINGS.results,
    message:
        "Features that can be made again, listed, and removed on a yes"
    shell:
        "python -m cellvit clean_features --results {params.results:q} --yes {params.yes:q} "
        "--receipt {output.receipt:q} 2>&1 | tee {log}"
