"""Decoders on the test folds, once: organ known, then organ predicted; and the summary with graded gates."""


def pooled(path):
    """Function for `input`: a file of the pooled control, for every family but itself."""
    return lambda wildcards: (
        path.format(split=wildcards.split, family=POOLED_FAMILY)
        if POOLED_FAMILY in FAMILIES and wildcards.family != POOLED_FAMILY
        else []
    )


rule evaluate_family:
    input:
        **FAMILY,
        checkpoint=CHECKPOINT,
        watershed=WATERSHED,
        pooled_checkpoint=pooled(CHECKPOINT),
        pooled_watershed=pooled(WATERSHED),
        fold_tiles=stores("tiles", "train", "test"),
        fold_features=stores("features", "train", "test"),
    output:
        evaluation="<results>/evaluation/split{split}/{family}.json",
        tiles="<results>/evaluation/split{split}/{family}_tiles.csv",
    log:
        "<results>/logs/evaluate_family/split{split}_{family}.log",
    benchmark:
        "<results>/timings/evaluate_family/split{split}_{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=6_000,
        runtime=120,
    params:
        settings=settings("evaluate_family"),
        code=code("evaluate_family"),
        train=folds_of("train"),
        test=folds_of("test"),
        pooled=lambda wildcards, input: (
            f"--pooled-checkpoint {input.pooled_checkpoint} --pooled-watershed {input.pooled_watershed}"
            if input.pooled_checkpoint
            else ""
        ),
    message:
        "Family {wildcards.family} on the test tiles of split {wildcards.split}"
    shell:
        "python -m cellvit evaluate_family --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --train-folds {params.train} --test-folds {params.test} "
        "--features {input.features:q} --targets {input.targets:q} --checkpoint {input.checkpoint:q} "
        "--watershed {input.watershed:q} {params.pooled} --out {output.evaluation:q} --tiles-csv {output.tiles:q} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"


rule evaluate_routed:
    input:
        tiles=stores("tiles", "test"),
        features=stores("features", "test"),
        organ_head="<results>/checkpoints/split{split}/organ_head.safetensors",
        checkpoints=expand(CHECKPOINT, family=OWN_FAMILIES, allow_missing=True),
        watersheds=expand(WATERSHED, family=OWN_FAMILIES, allow_missing=True),
        family_tiles=expand(
            "<results>/evaluation/split{split}/{family}_tiles.csv",
            family=OWN_FAMILIES,
            allow_missing=True,
        ),
    output:
        evaluation="<results>/evaluation/split{split}/routed.json",
        tiles="<results>/evaluation/split{split}/routed_tiles.csv",
    log:
        "<results>/logs/evaluate_routed/split{split}.log",
    benchmark:
        "<results>/timings/evaluate_routed/split{split}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=6_000,
        runtime=120,
    params:
        settings=settings("evaluate_routed"),
        code=code("evaluate_routed"),
        test=folds_of("test"),
    message:
        "All test tiles of split {wildcards.split}, organ predicted by OrganHead"
    shell:
        "python -m cellvit evaluate_routed --settings {params.settings:q} --split {wildcards.split} "
        "--test-folds {params.test} --features {input.features:q} --tiles {input.tiles:q} "
        "--organ-head {input.organ_head:q} --checkpoints {input.checkpoints:q} --watersheds {input.watersheds:q} "
        "--family-tiles {input.family_tiles:q} --out {output.evaluation:q} --tiles-csv {output.tiles:q} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"


rule summarize:
    input:
        evaluations=expand(
            "<results>/evaluation/split{split}/{family}.json",
            split=SPLITS,
            family=FAMILIES,
        ),
        routed=expand("<results>/evaluation/split{split}/routed.json", split=SPLITS),
        organ_heads=expand("<results>/evaluation/split{split}/organ_head.json", split=SPLITS),
        watersheds=expand(WATERSHED, split=SPLITS, family=FAMILIES),
    output:
        summary="<results>/summary.csv",
        table="<results>/summary.txt",
    log:
        "<results>/logs/summarize/summary.log",
    benchmark:
        "<results>/timings/summarize/summary.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=10,
    params:
        settings=settings("summarize"),
        code=code("summarize"),
    message:
        "Summary of every family and split, gates graded"
    shell:
        "python -m cellvit summarize --settings {params.settings:q} --evaluations {input.evaluations:q} "
        "--routed {input.routed:q} --organ-heads {input.organ_heads:q} --watersheds {input.watersheds:q} "
        "--out {output.summary:q} --table {output.table:q} > {log} 2>&1"
