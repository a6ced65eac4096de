"""OrganHead: the organ of a tile from its CLS token."""


rule train_organ_head:
    input:
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "train", "validate"),
        features=of_folds("<results>/features/fold{fold}.h5", "train", "validate"),
        checks=of_folds("<results>/features/fold{fold}_check.json", "train", "validate"),
        splits=[],  # of the final model alone
    output:
        checkpoint="<results>/checkpoints/split{split}/organ_head.safetensors",
        history="<results>/checkpoints/split{split}/organ_head_history.csv",
        timing="<results>/timings/train_organ_head/split{split}.json",
    log:
        "<results>/logs/train_organ_head/split{split}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory("train_organ_head"),
        runtime=minutes("train_organ_head"),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("train_organ_head"),
        code=code("train_organ_head"),
        split=split_of,
        train=folds("train"),
        validate=folds("validate"),
    message:
        "Train OrganHead, split {wildcards.split}"
    shell:
        "python -m cellvit train_organ_head --settings {params.settings:q} --split {params.split} "
        "--train-folds {params.train} --validate-folds {params.validate} --tiles {input.tiles:q} "
        "--features {input.features:q} --checks {input.checks:q} --splits {input.splits:q} --checkpoint {output.checkpoint:q} "
        "--history {output.history:q} --device {resources.device} --threads {threads} --code {params.code} "
        "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule evaluate_organ_head:
    input:
        organ_head="<results>/checkpoints/split{split}/organ_head.safetensors",
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "test"),
        features=of_folds("<results>/features/fold{fold}.h5", "test"),
        checks=of_folds("<results>/features/fold{fold}_check.json", "test"),
    output:
        evaluation=report(
            "<results>/evaluation/split{split}/organ_head.json",
            caption="captions/organ_head.rst",
            category="Evaluation",
            labels={"split": "{split}", "what": "OrganHead"},
        ),
        timing="<results>/timings/evaluate_organ_head/split{split}.json",
    log:
        "<results>/logs/evaluate_organ_head/split{split}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory("evaluate_organ_head"),
        runtime=minutes("evaluate_organ_head"),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("evaluate_organ_head"),
        code=code("evaluate_organ_head"),
        test=folds("test"),
    message:
        "Evaluate OrganHead on the test folds, split {wildcards.split}"
    shell:
        "python -m cellvit evaluate_organ_head --settings {params.settings:q} --split {wildcards.split} "
        "--test-folds {params.test} --organ-head {input.organ_head:q} --tiles {input.tiles:q} "
        "--features {input.features:q} --checks {input.checks:q} --evaluation {output.evaluation:q} "
        "--device {resources.device} --threads {threads} --code {params.code} --timing {output.timing:q} "
        "--cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"
