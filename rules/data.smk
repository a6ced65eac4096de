"""PanNuke folds (simulated where asked for) -> checked tile stores."""

if SETTINGS.data.simulated:

    rule simulate_pannuke:
        output:
            **graph.raw,
            mark=graph.simulated_mark,
            timing="<results>/timings/simulate_pannuke/fold{fold}.json",
        log:
            "<results>/logs/simulate_pannuke/fold{fold}.log",
        conda:
            "../envs/cpu.yaml"
        threads: 1
        resources:
            mem_mb=memory("simulate_pannuke"),
            runtime=minutes("simulate_pannuke"),
            cache=CACHE,
            cache_gb=CACHE_GB,
        params:
            settings=settings("simulate_pannuke"),
            code=code("simulate_pannuke"),
        message:
            "Simulate fold {wildcards.fold} in PanNuke's layout"
        shell:
            "python -m cellvit simulate_pannuke --settings {params.settings:q} --fold {wildcards.fold} "
            "--images {output.images:q} --masks {output.masks:q} --types {output.types:q} --mark {output.mark:q} "
            "--code {params.code} --timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} "
            "> {log:q} 2>&1"


rule prepare_fold:
    input:
        **graph.raw,
        **graph.names,
        mark=graph.simulated_mark if SETTINGS.data.simulated else graph.where_present(graph.simulated_mark),
    output:
        tiles="<results>/tiles/fold{fold}.h5",
        summary="<results>/tiles/fold{fold}.json",
        timing="<results>/timings/prepare_fold/fold{fold}.json",
    log:
        "<results>/logs/prepare_fold/fold{fold}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("prepare_fold"),
        runtime=minutes("prepare_fold"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        code=code("prepare_fold"),
    message:
        "Prepare fold {wildcards.fold}: check the raw data and write its tiles"
    shell:
        "python -m cellvit prepare_fold --fold {wildcards.fold} --images {input.images:q} --masks {input.masks:q} "
        "--types {input.types:q} --patients {input.patients:q} --sources {input.sources:q} --mark {input.mark:q} "
        "--tiles {output.tiles:q} --summary {output.summary:q} --code {params.code} --timing {output.timing:q} --cache {resources.cache:q} "
        "--cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule check_targets:
    input:
        tiles="<results>/tiles/fold{fold}.h5",
    output:
        check="<results>/tiles/fold{fold}_check.json",
        timing="<results>/timings/check_targets/fold{fold}.json",
    log:
        "<results>/logs/check_targets/fold{fold}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        mem_mb=memory("check_targets"),
        runtime=minutes("check_targets"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("check_targets"),
        code=code("check_targets"),
    message:
        "Check the targets of fold {wildcards.fold} and the upper bound of decoding"
    shell:
        "python -m cellvit check_targets --settings {params.settings:q} --fold {wildcards.fold} --tiles {input.tiles:q} "
        "--check {output.check:q} --threads {threads} --code {params.code} --timing {output.timing:q} "
        "--cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"
