"""A family's features and targets as views on the folds' stores, and the check of its targets."""


rule gather_family:
    input:
        tiles=expand("<results>/tiles/fold{fold}.h5", fold=FOLDS),
        features=expand("<results>/features/fold{fold}.h5", fold=FOLDS),
        checks=expand("<results>/features/fold{fold}_check.json", fold=FOLDS),
    output:
        features="<results>/families/{family}/features.h5",
        targets="<results>/families/{family}/targets.h5",
    log:
        "<results>/logs/gather_family/{family}.log",
    benchmark:
        "<results>/timings/gather_family/{family}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        settings=settings("gather_family"),
        code=code("gather_family"),
        folds=FOLDS,
    message:
        "Features and targets of family {wildcards.family}"
    shell:
        "python -m cellvit gather_family --settings {params.settings:q} --family {wildcards.family} "
        "--folds {params.folds} --fold-tiles {input.tiles:q} --fold-features {input.features:q} "
        "--features {output.features:q} --targets {output.targets:q} > {log} 2>&1"


rule check_targets:
    input:
        targets="<results>/families/{family}/targets.h5",
    output:
        check="<results>/families/{family}/check.json",
    log:
        "<results>/logs/check_targets/{family}.log",
    benchmark:
        "<results>/timings/check_targets/{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        mem_mb=2_000,
        runtime=60,
    params:
        settings=settings("check_targets"),
        code=code("check_targets"),
    message:
        "Targets of family {wildcards.family} against the oracle"
    shell:
        "python -m cellvit check_targets --settings {params.settings:q} --family {wildcards.family} "
        "--targets {input.targets:q} --out {output.check:q} --threads {threads} > {log} 2>&1"
