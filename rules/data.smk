"""PanNuke folds (simulated where asked for), or a user's data set -> checked tile stores."""

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


if graph.is_own:

    rule prepare_own_data:
        input:
            files=graph.own_files,
        output:
            tiles=expand("<results>/tiles/fold{fold}.h5", fold=FOLDS),
            summaries=expand("<results>/tiles/fold{fold}.json", fold=FOLDS),
            check="<results>/tiles/own_data.json",
            images="<results>/tiles/images.csv",
            timing="<results>/timings/prepare_own_data/folds.json",
        log:
            "<results>/logs/prepare_own_data/folds.log",
        conda:
            "../envs/cpu.yaml"
        threads: 1
        resources:
            mem_mb=memory("prepare_own_data"),
            runtime=minutes("prepare_own_data"),
            cache=CACHE,
            cache_gb=CACHE_GB,
        params:
            settings=settings("prepare_own_data"),
            code=code("prepare_own_data"),
            data=graph.data_root,
        message:
            "Check the images and annotations in {params.data}, and cut them into tiles"
        shell:
            "python -m cellvit prepare_own_data --settings {params.settings:q} --data {params.data:q} --tiles {output.tiles:q} "
            "--summaries {output.summaries:q} --check {output.check:q} --images {output.images:q} --code {params.code} "
            "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"

else:

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
            settings=settings("prepare_fold"),
            code=code("prepare_fold"),
        message:
            "Prepare fold {wildcards.fold}: check the raw data and write its tiles"
        shell:
            "python -m cellvit prepare_fold --settings {params.settings:q} --fold {wildcards.fold} --images {input.images:q} --masks {input.masks:q} "
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


rule check_folds:
    input:
        tiles=expand("<results>/tiles/fold{fold}.h5", fold=FOLDS),
    output:
        check="<results>/tiles/folds_check.json",
        timing="<results>/timings/check_folds/folds.json",
    log:
        "<results>/logs/check_folds/folds.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("check_folds"),
        runtime=minutes("check_folds"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("check_folds"),
        code=code("check_folds"),
        folds=FOLDS,
    message:
        "Check that no image has two roles in a split"
    shell:
        "python -m cellvit check_folds --settings {params.settings:q} --folds {params.folds} --tiles {input.tiles:q} "
        "--check {output.check:q} --code {params.code} --timing {output.timing:q} --cache {resources.cache:q} "
        "--cache-gb {resources.cache_gb} > {log:q} 2>&1"
