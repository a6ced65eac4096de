"""OrganHead: the organ of a tile from its CLS token."""


rule train_organ_head:
    input:
        tiles=stores("tiles", "train", "validate", "test"),
        features=stores("features", "train", "validate", "test"),
        checks=lambda wildcards: [
            f"<results>/features/fold{fold}_check.json"
            for folds in SPLITS[wildcards.split].roles.values()
            for fold in folds
        ],
    output:
        checkpoint="<results>/checkpoints/split{split}/organ_head.safetensors",
        history="<results>/checkpoints/split{split}/organ_head_history.csv",
        evaluation="<results>/evaluation/split{split}/organ_head.json",
    log:
        "<results>/logs/train_organ_head/split{split}.log",
    benchmark:
        "<results>/timings/train_organ_head/split{split}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=4_000,
        runtime=60,
    params:
        settings=settings("train_organ_head"),
        code=code("train_organ_head"),
        train=folds_of("train"),
        validate=folds_of("validate"),
        test=folds_of("test"),
    message:
        "OrganHead of split {wildcards.split}"
    shell:
        "python -m cellvit train_organ_head --settings {params.settings:q} --split {wildcards.split} "
        "--train-folds {params.train} --validate-folds {params.validate} --test-folds {params.test} "
        "--tiles {input.tiles:q} --features {input.features:q} --checkpoint {output.checkpoint:q} "
        "--history {output.history:q} --evaluation {output.evaluation:q} --code {params.code} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"
