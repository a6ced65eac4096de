"""A family's features and targets as views on the folds' stores, and the check of its targets."""

SEALED_FOLDS = expand([SEALED_TILES, SEALED_FEATURES], fold=FOLDS)
FEATURE_CHECKS = expand(FEATURE_CHECK, fold=FOLDS)
SEALED_FAMILY_FOLDS = expand(SEALED_FAMILY, fold=FOLDS, allow_missing=True)


checkpoint gather_family:
    input:
        tiles=ancient(expand(TILES, fold=FOLDS)),
        features=ancient(expand(FEATURES, fold=FOLDS)),
        reasons=SEALED_FOLDS,
        gates=ancient(FEATURE_CHECKS),
        behind=ancient(OF_FOLDS),
    output:
        features="<results>/families/{family}/features.h5",
        targets="<results>/families/{family}/targets.h5",
        seals=SEALED_FAMILY_FOLDS,
    log:
        "<results>/logs/gather_family/{family}.log",
    benchmark:
        "<results>/timings/gather_family/{family}.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("gather_family"),
        runtime=minutes("gather_family"),
    params:
        settings=settings("gather_family"),
        reasons=hashed(SEALED_FOLDS, gates=[FEATURE_CHECKS]),
        code=code("gather_family"),
        folds=FOLDS,
    message:
        "Features and targets of family {wildcards.family}: {TILES_OF:family {wildcards.family} folds all}"
    shell:
        "python -m cellvit gather_family --settings {params.settings:q} --family {wildcards.family} "
        "--folds {params.folds} --fold-tiles {input.tiles:q} --fold-features {input.features:q} "
        "--features {output.features:q} --targets {output.targets:q} --seals {output.seals:q} > {log} 2>&1"


checkpoint check_targets:
    input:
        targets=FAMILY["targets"],
        reasons=SEALED_FAMILY_FOLDS,
        behind=ancient(OF_FOLDS),
    output:
        check=TARGET_CHECK,
    log:
        "<results>/logs/check_targets/{family}.log",
    benchmark:
        "<results>/timings/check_targets/{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        mem_mb=memory("check_targets"),
        runtime=minutes("check_targets"),
    params:
        settings=settings("check_targets"),
        reasons=hashed(SEALED_FAMILY_FOLDS),
        code=code("check_targets"),
    message:
        "Targets of family {wildcards.family} against the oracle: {TILES_OF:family {wildcards.family} folds all}"
    shell:
        "python -m cellvit check_targets --settings {params.settings:q} --family {wildcards.family} "
        "--targets {input.targets:q} --out {output.check:q} --threads {threads} > {log} 2>&1"
