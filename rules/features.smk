"""Frozen features of every fold, and their check; which rows belong to each family."""


rule extract_features:
    input:
        tiles="<results>/tiles/fold{fold}.h5",
        check="<results>/tiles/fold{fold}_check.json",
        folds_check="<results>/tiles/folds_check.json",
        weights=graph.weights,
    output:
        features="<results>/features/fold{fold}.h5",
        timing="<results>/timings/extract_features/fold{fold}.json",
    log:
        "<results>/logs/extract_features/fold{fold}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("extract_features"),
        runtime=minutes("extract_features", times=SETTINGS.features.n_views),
        device=DEVICE,
        batch_size=str(SETTINGS.features.batch_size),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("extract_features"),
        code=code("extract_features"),
    message:
        "Extract the frozen features of fold {wildcards.fold}"
    shell:
        "python -m cellvit extract_features --settings {params.settings:q} --tiles {input.tiles:q} --check {input.check:q} "
        "--weights {input.weights:q} --features {output.features:q} --batch-size {resources.batch_size} "
        "--device {resources.device} --threads {threads} --code {params.code} --timing {output.timing:q} "
        "--cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule check_features:
    input:
        tiles="<results>/tiles/fold{fold}.h5",
        features="<results>/features/fold{fold}.h5",
        weights=graph.weights,
    output:
        check="<results>/features/fold{fold}_check.json",
        timing="<results>/timings/check_features/fold{fold}.json",
    log:
        "<results>/logs/check_features/fold{fold}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory("check_features"),
        runtime=minutes("check_features", times=SETTINGS.features.n_views),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("check_features"),
        code=code("check_features"),
    message:
        "Compare the features of fold {wildcards.fold} with a fresh forward pass"
    shell:
        "python -m cellvit check_features --settings {params.settings:q} --tiles {input.tiles:q} "
        "--features {input.features:q} --weights {input.weights:q} --check {output.check:q} --device {resources.device} "
        "--threads {threads} --code {params.code} --timing {output.timing:q} --cache {resources.cache:q} "
        "--cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule gather_families:
    input:
        tiles="<results>/tiles/fold{fold}.h5",
        features="<results>/features/fold{fold}.h5",
        check="<results>/features/fold{fold}_check.json",
    output:
        members="<results>/families/{family}/fold{fold}.h5",
        timing="<results>/timings/gather_families/{family}_fold{fold}.json",
    log:
        "<results>/logs/gather_families/{family}_fold{fold}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("gather_families"),
        runtime=minutes("gather_families"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("gather_families"),
        code=code("gather_families"),
    message:
        "List the tiles of family {wildcards.family} in fold {wildcards.fold}"
    shell:
        "python -m cellvit gather_families --settings {params.settings:q} --fold {wildcards.fold} --tiles {input.tiles:q} "
        "--features {input.features:q} --check {input.check:q} --members {output.members:q} --code {params.code} "
        "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"
