"""Tile stores through the frozen encoder, once a fold, and the proof that the features are what they claim to be."""


checkpoint extract_features:
    input:
        tiles=ancient(TILES),
        weights=ancient(local_weights()),
        reasons=SEALED_TILES,
    output:
        features=f"<results>/features/{PART}.h5",
        seal=seal(f"features/{PART}"),
    log:
        f"<results>/logs/extract_features/{PART}.log",
    benchmark:
        f"<results>/timings/extract_features/{PART}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("extract_features"),
        runtime=minutes("extract_features", times=SETTINGS.features.n_views),
    params:
        settings=settings("extract_features"),
        shard=shard_of_fold,
        weights=weights_content,
        reasons=hashed(SEALED_TILES),
        code=code("extract_features"),
    message:
        "Frozen features of fold {wildcards.fold}: {TILES_OF:fold {wildcards.fold}}"
        + (f", shard {{wildcards.shard}} of {SHARDS}" if SHARDS > 1 else "")
    shell:
        "python -m cellvit extract_features --settings {params.settings:q} --tiles {input.tiles:q} "
        "--features {output.features:q} --seal {output.seal:q} --shard {params.shard} --batch-size {BATCH_SIZE} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"


if SHARDS > 1:

    OF_SHARDS = expand(seal(f"features/{PART}"), shard=range(1, SHARDS + 1), allow_missing=True)

    checkpoint join_shards:
        input:
            shards=ancient(expand(f"<results>/features/{PART}.h5", shard=range(1, SHARDS + 1), allow_missing=True)),
            reasons=OF_SHARDS,
            behind=ancient(SEALED_TILES),
        output:
            features=FEATURES,
            seal=SEALED_FEATURES,
        log:
            "<results>/logs/join_shards/fold{fold}.log",
        benchmark:
            "<results>/timings/join_shards/fold{fold}.tsv"
        localrule: True
        conda:
            "../envs/cpu.yaml"
        threads: 1
        resources:
            mem_mb=memory("join_shards"),
            runtime=minutes("join_shards"),
        params:
            reasons=hashed(OF_SHARDS),
            code=code("join_shards"),
        message:
            f"Features of fold {{wildcards.fold}} from {SHARDS} shards: {{TILES_OF:fold {{wildcards.fold}}}}"
        shell:
            "python -m cellvit join_shards --shards {input.shards:q} --features {output.features:q} "
            "--seal {output.seal:q} > {log} 2>&1"


checkpoint check_features:
    input:
        tiles=ancient(TILES),
        features=ancient(FEATURES),
        reasons=[SEALED_TILES, SEALED_FEATURES],
        behind=ancient(expand(seal(f"features/{PART}"), shard=range(1, SHARDS + 1), allow_missing=True)),
    output:
        check=FEATURE_CHECK,
    log:
        "<results>/logs/check_features/fold{fold}.log",
    benchmark:
        "<results>/timings/check_features/fold{fold}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory("check_features"),
        runtime=minutes("check_features", times=SETTINGS.features.n_views),
    params:
        settings=settings("check_features"),
        reasons=hashed([SEALED_TILES, SEALED_FEATURES]),
        code=code("check_features"),
    message:
        "Features of fold {wildcards.fold} compared with a fresh forward pass: {TILES_OF:fold {wildcards.fold}}"
    shell:
        "python -m cellvit check_features --settings {params.settings:q} --tiles {input.tiles:q} "
        "--features {input.features:q} --out {output.check:q} --device {DEVICE} --threads {threads} > {log} 2>&1"
