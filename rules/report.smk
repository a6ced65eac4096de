"""The page that shows what was run and what came out."""

REPORTED = [
    "<results>/summary.csv",
    *everywhere([f"{EVALUATION}.json", f"{EVALUATION}_tiles.csv", WATERSHED, SEALED_DECODER]),
    *everywhere("<results>/checkpoints/split{split}/hovernet_{family}_history.csv"),
    *expand(["<results>/evaluation/split{split}/routed.json", ORGAN_HEAD_EVALUATION], split=SPLITS),
    *expand(["<results>/tiles/fold{fold}.json", FEATURE_CHECK], fold=FOLDS),
    *expand([TARGET_CHECK, *SEALED_FAMILY_FOLDS], family=FAMILIES),
]


def still_there(paths):
    """Function for `input`: those that clean_features has not removed. The page keeps its galleries without them."""
    return lambda wildcards: [path for path in paths if _located(path).exists()]


rule build_report:
    input:
        summary="<results>/summary.csv",
        summary_origin=ancient("<results>/summary.json"),
        evaluations=everywhere(f"{EVALUATION}.json"),
        family_tiles=everywhere(f"{EVALUATION}_tiles.csv"),
        routed=expand("<results>/evaluation/split{split}/routed.json", split=SPLITS),
        organ_heads=expand(ORGAN_HEAD_EVALUATION, split=SPLITS),
        histories=everywhere("<results>/checkpoints/split{split}/hovernet_{family}_history.csv"),
        checkpoints=ancient(everywhere(CHECKPOINT)),
        watersheds=everywhere(WATERSHED),
        folds=expand("<results>/tiles/fold{fold}.json", fold=FOLDS),
        feature_checks=expand(FEATURE_CHECK, fold=FOLDS),
        target_checks=expand(TARGET_CHECK, family=FAMILIES),
        features=ancient(still_there(expand("<results>/families/{family}/features.h5", family=FAMILIES))),
        targets=ancient(expand("<results>/families/{family}/targets.h5", family=FAMILIES)),
        reasons=everywhere(SEALED_DECODER) + expand(SEALED_FAMILY, family=FAMILIES, fold=FOLDS),
        behind=ancient(OF_EVERYTHING),
    output:
        page=report(
            "<results>/report/index.html",
            caption="captions/page.rst",
            category="Summary",
            labels={"what": "page of the run"},
        ),
    log:
        "<results>/logs/build_report/report.log",
    benchmark:
        "<results>/timings/build_report/report.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory("build_report"),
        runtime=minutes("build_report"),
    params:
        settings=settings("build_report"),
        reasons=hashed(REPORTED),
        code=code("build_report"),
    message:
        f"Report of families ({len(FAMILIES)}) and splits ({len(SPLITS)})"
    shell:
        "python -m cellvit build_report --settings {params.settings:q} --summary {input.summary:q} "
        "--summary-origin {input.summary_origin:q} "
        "--evaluations {input.evaluations:q} --family-tiles {input.family_tiles:q} --routed {input.routed:q} "
        "--organ-heads {input.organ_heads:q} --histories {input.histories:q} --checkpoints {input.checkpoints:q} "
        "--watersheds {input.watersheds:q} --folds {input.folds:q} --feature-checks {input.feature_checks:q} "
        "--target-checks {input.target_checks:q} --features {input.features:q} --targets {input.targets:q} "
        "--timings {TIMINGS_FOLDER:q} --out {output.page:q} --device {DEVICE} --threads {threads} > {log} 2>&1"
