"""One HoVer-Net decoder a family, and its watershed parameters."""


rule train_hovernet:
    input:
        **FAMILY,
        check="<results>/families/{family}/check.json",
        fold_tiles=stores("tiles", "train", "validate"),
        fold_features=stores("features", "train", "validate"),
    output:
        checkpoint=CHECKPOINT,
        history="<results>/checkpoints/split{split}/hovernet_{family}_history.csv",
    log:
        "<results>/logs/train_hovernet/split{split}_{family}.log",
    benchmark:
        "<results>/timings/train_hovernet/split{split}_{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=10_000,
        runtime=720,
    params:
        settings=settings("train_hovernet"),
        code=code("train_hovernet"),
        train=folds_of("train"),
        validate=folds_of("validate"),
    message:
        "HoVer-Net decoder of family {wildcards.family}, split {wildcards.split}"
    shell:
        "python -m cellvit train_hovernet --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --train-folds {params.train} --validate-folds {params.validate} "
        "--features {input.features:q} --targets {input.targets:q} --checkpoint {output.checkpoint:q} "
        "--history {output.history:q} --code {params.code} --device {DEVICE} --threads {threads} > {log} 2>&1"


rule tune_watershed:
    input:
        **FAMILY,
        checkpoint=CHECKPOINT,
        fold_tiles=stores("tiles", "validate"),
        fold_features=stores("features", "validate"),
    output:
        choice=WATERSHED,
    log:
        "<results>/logs/tune_watershed/split{split}_{family}.log",
    benchmark:
        "<results>/timings/tune_watershed/split{split}_{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=6_000,
        runtime=120,
    params:
        settings=settings("tune_watershed"),
        code=code("tune_watershed"),
        validate=folds_of("validate"),
    message:
        "Watershed parameters of family {wildcards.family}, split {wildcards.split}, on validation tiles"
    shell:
        "python -m cellvit tune_watershed --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --validate-folds {params.validate} --checkpoint {input.checkpoint:q} "
        "--features {input.features:q} --targets {input.targets:q} --out {output.choice:q} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"
