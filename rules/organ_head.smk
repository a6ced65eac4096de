"""OrganHead: the organ of a tile from its CLS token."""

ROLES = ("train", "validate", "test")
SEALED_ROLES = together(of_folds(SEALED_TILES, *ROLES), of_folds(SEALED_FEATURES, *ROLES))


checkpoint train_organ_head:
    input:
        tiles=ancient(of_folds(TILES, *ROLES)),
        features=ancient(of_folds(FEATURES, *ROLES)),
        reasons=SEALED_ROLES,
        gates=ancient(of_folds(FEATURE_CHECK, *ROLES)),
        behind=ancient(OF_FOLDS),
    output:
        checkpoint="<results>/checkpoints/split{split}/training/organ_head.safetensors",
        history="<results>/checkpoints/split{split}/training/organ_head_history.csv",
        evaluation=ORGAN_HEAD_EVALUATION,
    log:
        "<results>/logs/train_organ_head/split{split}.log",
    benchmark:
        "<results>/timings/train_organ_head/split{split}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory("train_organ_head"),
        runtime=minutes("train_organ_head"),
    params:
        settings=settings("train_organ_head"),
        reasons=hashed(SEALED_ROLES, gates=[of_folds(FEATURE_CHECK, *ROLES)]),
        code=code("train_organ_head"),
        train=folds_of("train"),
        validate=folds_of("validate"),
        test=folds_of("test"),
    message:
        f"OrganHead of split {{wildcards.split}}: {SETTINGS.organ_head.epochs} epochs of "
        "{TILES_OF:split {wildcards.split} role train}"
    shell:
        "python -m cellvit train_organ_head --settings {params.settings:q} --split {wildcards.split} "
        "--train-folds {params.train} --validate-folds {params.validate} --test-folds {params.test} "
        "--tiles {input.tiles:q} --features {input.features:q} --checkpoint {output.checkpoint:q} "
        "--history {output.history:q} --evaluation {output.evaluation:q} --code {params.code} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"
