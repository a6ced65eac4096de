"""One HoVer-Net decoder for each family and split, and its decoding, tuned on the validation folds."""


rule train_hovernet:
    input:
        members=of_folds("<results>/families/{base_family}/fold{fold}.h5", "train", "validate"),
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "train", "validate"),
        features=of_folds("<results>/features/fold{fold}.h5", "train", "validate"),
        start=graph.start("<results>/checkpoints/split{split}/hovernet_{family}.safetensors"),
        unseen=graph.unseen("<results>/tiles/fold{fold}.h5"),
        splits=[],  # of final models alone
    output:
        checkpoint="<results>/checkpoints/split{split}/hovernet_{family}.safetensors",
        history=report(
            "<results>/checkpoints/split{split}/hovernet_{family}_history.csv",
            caption="captions/history.rst",
            category="Training",
            labels={"split": "{split}", "what": "{family}"},
        ),
        maps="<results>/maps/split{split}/{family}.h5",
        timing="<results>/timings/train_hovernet/split{split}_{family}.json",
    log:
        "<results>/logs/train_hovernet/split{split}_{family}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("train_hovernet"),
        runtime=minutes("train_hovernet", tiles=graph.tiles_trained),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("train_hovernet"),
        code=code("train_hovernet"),
        split=split_of,
        train=folds("train"),
        validate=folds("validate"),
    message:
        "Train the decoder of family {wildcards.family}, split {wildcards.split}"
    shell:
        "python -m cellvit train_hovernet --settings {params.settings:q} --split {params.split} "
        "--family {wildcards.family} --train-folds {params.train} --validate-folds {params.validate} "
        "--members {input.members:q} --tiles {input.tiles:q} --features {input.features:q} --start {input.start:q} "
        "--unseen {input.unseen:q} --splits {input.splits:q} "
        "--checkpoint {output.checkpoint:q} --history {output.history:q} --maps {output.maps:q} "
        "--device {resources.device} --threads {threads} --code {params.code} --timing {output.timing:q} "
        "--cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule average_maps:
    input:
        checkpoint="<results>/checkpoints/split{split}/hovernet_{family}.safetensors",
        members=of_folds("<results>/families/{base_family}/fold{fold}.h5", "validate"),
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "validate"),
        features=of_folds("<results>/features/fold{fold}.h5", "validate"),
    output:
        maps="<results>/maps/split{split}/averaged/{family}.h5",
        timing="<results>/timings/average_maps/split{split}_{family}.json",
    log:
        "<results>/logs/average_maps/split{split}_{family}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("average_maps"),
        runtime=minutes("average_maps", times=len(SETTINGS.features.views)),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        code=code("average_maps"),
    message:
        "Average the maps of family {wildcards.family} over the views, split {wildcards.split}"
    shell:
        "python -m cellvit average_maps --split {wildcards.split} --family {wildcards.family} "
        "--checkpoint {input.checkpoint:q} --members {input.members:q} --tiles {input.tiles:q} "
        "--features {input.features:q} --maps {output.maps:q} --device {resources.device} --threads {threads} "
        "--code {params.code} --timing {output.timing:q} --cache {resources.cache:q} "
        "--cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule tune_watershed:
    input:
        checkpoint="<results>/checkpoints/split{split}/hovernet_{family}.safetensors",
        maps=graph.maps(
            "<results>/maps/split{split}/{family}.h5", averaged="<results>/maps/split{split}/averaged/{family}.h5"
        ),
        members=of_folds("<results>/families/{base_family}/fold{fold}.h5", "validate"),
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "validate"),
    output:
        watershed="<results>/watershed/split{split}/{family}.json",
        timing="<results>/timings/tune_watershed/split{split}_{family}.json",
    log:
        "<results>/logs/tune_watershed/split{split}_{family}.log",
    conda:
        "../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=memory("tune_watershed"),
        runtime=minutes("tune_watershed"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("tune_watershed"),
        code=code("tune_watershed"),
        split=split_of,
    message:
        "Tune the decoding of family {wildcards.family}, split {wildcards.split}"
    shell:
        "python -m cellvit tune_watershed --settings {params.settings:q} --split {params.split} "
        "--family {wildcards.family} --checkpoint {input.checkpoint:q} --maps {input.maps:q} --members {input.members:q} "
        "--tiles {input.tiles:q} --watershed {output.watershed:q} --threads {threads} --code {params.code} "
        "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"
