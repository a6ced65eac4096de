"""The page that shows what was run and what came out."""


rule build_report:
    input:
        summary="<results>/summary.csv",
        evaluations=expand(
            "<results>/evaluation/split{split}/{family}.json",
            split=SPLITS,
            family=FAMILIES,
        ),
        family_tiles=expand(
            "<results>/evaluation/split{split}/{family}_tiles.csv",
            split=SPLITS,
            family=FAMILIES,
        ),
        routed=expand("<results>/evaluation/split{split}/routed.json", split=SPLITS),
        organ_heads=expand("<results>/evaluation/split{split}/organ_head.json", split=SPLITS),
        histories=expand(
            "<results>/checkpoints/split{split}/hovernet_{family}_history.csv",
            split=SPLITS,
            family=FAMILIES,
        ),
        checkpoints=expand(CHECKPOINT, split=SPLITS, family=FAMILIES),
        watersheds=expand(WATERSHED, split=SPLITS, family=FAMILIES),
        folds=expand("<results>/tiles/fold{fold}.json", fold=FOLDS),
        feature_checks=expand("<results>/features/fold{fold}_check.json", fold=FOLDS),
        target_checks=expand("<results>/families/{family}/check.json", family=FAMILIES),
        features=expand("<results>/families/{family}/features.h5", family=FAMILIES),
        targets=expand("<results>/families/{family}/targets.h5", family=FAMILIES),
    output:
        page="<results>/report/index.html",
    log:
        "<results>/logs/build_report/report.log",
    benchmark:
        "<results>/timings/build_report/report.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=4_000,
        runtime=30,
    params:
        settings=settings("build_report"),
        code=code("build_report"),
        timings=lambda wildcards: f"{SETTINGS.results}/timings",
    message:
        "Report"
    shell:
        "python -m cellvit build_report --settings {params.settings:q} --summary {input.summary:q} "
        "--evaluations {input.evaluations:q} --family-tiles {input.family_tiles:q} --routed {input.routed:q} "
        "--organ-heads {input.organ_heads:q} --histories {input.histories:q} --checkpoints {input.checkpoints:q} "
        "--watersheds {input.watersheds:q} --folds {input.folds:q} --feature-checks {input.feature_checks:q} "
        "--target-checks {input.target_checks:q} --features {input.features:q} --targets {input.targets:q} "
        "--timings {params.timings:q} --out {output.page:q} --device {DEVICE} --threads {threads} > {log} 2>&1"
