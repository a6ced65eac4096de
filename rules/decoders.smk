"""One HoVer-Net decoder a family, checkpoints in their place, and watershed parameters."""


checkpoint train_hovernet:
    input:
        **FAMILY,
        reasons=of_folds(SEALED_FAMILY, "train", "validate"),
        gates=ancient(TARGET_CHECK),
        behind=ancient(OF_FOLDS + OF_FAMILY),
    output:
        checkpoint="<results>/checkpoints/split{split}/training/hovernet_{family}.safetensors",
        history="<results>/checkpoints/split{split}/training/hovernet_{family}_history.csv",
    log:
        "<results>/logs/train_hovernet/split{split}_{family}.log",
    benchmark:
        "<results>/timings/train_hovernet/split{split}_{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("train_hovernet"),
        runtime=minutes("train_hovernet", times=SETTINGS.training.epochs),
    params:
        settings=settings("train_hovernet"),
        reasons=hashed(of_folds(SEALED_FAMILY, "train", "validate"), gates=[TARGET_CHECK]),
        code=code("train_hovernet"),
        train=folds_of("train"),
        validate=folds_of("validate"),
    message:
        f"HoVer-Net decoder of family {{wildcards.family}}, split {{wildcards.split}}: {SETTINGS.training.epochs} epochs of "
        "{TILES_OF:family {wildcards.family} split {wildcards.split} role train}"
    shell:
        "python -m cellvit train_hovernet --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --train-folds {params.train} --validate-folds {params.validate} "
        "--features {input.features:q} --targets {input.targets:q} --checkpoint {output.checkpoint:q} "
        "--history {output.history:q} --code {params.code} --device {DEVICE} --threads {threads} > {log} 2>&1"


checkpoint publish_checkpoint:
    input:
        trained=f"{TRAINED}.safetensors",
        history=f"{TRAINED}_history.csv",
        behind=ancient(behind_model),
    output:
        checkpoint="<results>/checkpoints/split{split}/{model}.safetensors",
        history="<results>/checkpoints/split{split}/{model}_history.csv",
        seal=seal("checkpoints/split{split}/{model}"),
    log:
        "<results>/logs/publish_checkpoint/split{split}_{model}.log",
    benchmark:
        "<results>/timings/publish_checkpoint/split{split}_{model}.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("publish_checkpoint"),
        runtime=minutes("publish_checkpoint"),
    params:
        reasons=hashed([f"{TRAINED}.safetensors", f"{TRAINED}_history.csv"]),
        code=code("publish_checkpoint"),
    message:
        "Checkpoint {wildcards.model} of split {wildcards.split} in its place"
    shell:
        "python -m cellvit publish_checkpoint --trained {input.trained:q} --trained-history {input.history:q} "
        "--checkpoint {output.checkpoint:q} --history {output.history:q} --seal {output.seal:q} > {log} 2>&1"


checkpoint tune_watershed:
    input:
        **FAMILY,
        checkpoint=ancient(CHECKPOINT),
        reasons=together(SEALED_DECODER, of_folds(SEALED_FAMILY, "validate")),
        behind=ancient(OF_FOLDS + OF_FAMILY + OF_TRAINING),
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
        mem_mb=memory("tune_watershed"),
        runtime=minutes("tune_watershed"),
    params:
        settings=settings("tune_watershed"),
        reasons=hashed(SEALED_DECODER, of_folds(SEALED_FAMILY, "validate")),
        code=code("tune_watershed"),
        validate=folds_of("validate"),
    message:
        "Watershed parameters of family {wildcards.family}, split {wildcards.split}, on validation: "
        "{TILES_OF:family {wildcards.family} split {wildcards.split} role validate}"
    shell:
        "python -m cellvit tune_watershed --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --validate-folds {params.validate} --checkpoint {input.checkpoint:q} "
        "--features {input.features:q} --targets {input.targets:q} --out {output.choice:q} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"
