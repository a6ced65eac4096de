"""How far predictions can be trusted: calibrated probabilities, bounds of counts, and tiles unlike the training data."""


rule calibrate:
    input:
        members=graph.of_families_and_folds("<results>/families/{family}/fold{fold}.h5", "train", "validate", "test"),
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "train", "validate", "test"),
        features=of_folds("<results>/features/fold{fold}.h5", "train", "validate", "test"),
        checkpoints=of_families("<results>/checkpoints/split{split}/hovernet_{family}.safetensors"),
        watersheds=of_families("<results>/watershed/split{split}/{family}.json"),
    output:
        calibrations=expand("<results>/calibration/split{{split}}/{family}.json", family=FAMILIES),
        novelty="<results>/calibration/split{split}/novelty.safetensors",
        timing="<results>/timings/calibrate/split{split}.json",
    log:
        "<results>/logs/calibrate/split{split}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("calibrate"),
        runtime=minutes("calibrate", times=PASSES),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("calibrate"),
        code=code("calibrate"),
        train=folds("train"),
        validate=folds("validate"),
        test=folds("test"),
    message:
        "Calibrate all decoders of split {wildcards.split} on its validation folds"
    shell:
        "python -m cellvit calibrate --settings {params.settings:q} --split {wildcards.split} "
        "--train-folds {params.train} --validate-folds {params.validate} --test-folds {params.test} "
        "--members {input.members:q} --tiles {input.tiles:q} --features {input.features:q} "
        "--checkpoints {input.checkpoints:q} --watersheds {input.watersheds:q} --calibrations {output.calibrations:q} "
        "--novelty {output.novelty:q} --device {resources.device} --threads {threads} --code {params.code} "
        "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule calibrate_final:
    input:
        members=expand("<results>/families/{family}/fold{fold}.h5", family=FAMILIES, fold=FOLDS),
        tiles=expand("<results>/tiles/fold{fold}.h5", fold=FOLDS),
        features=expand("<results>/features/fold{fold}.h5", fold=FOLDS),
        checkpoints=expand("<results>/checkpoints/final/hovernet_{family}.safetensors", family=FAMILIES),
        of_splits=expand("<results>/calibration/split{split}/{family}.json", split=SPLITS, family=FAMILIES),
        novelties=expand("<results>/calibration/split{split}/novelty.safetensors", split=SPLITS),
    output:
        calibrations=expand("<results>/calibration/final/{family}.json", family=FAMILIES),
        novelty="<results>/calibration/final/novelty.safetensors",
        timing="<results>/timings/calibrate_final/final.json",
    log:
        "<results>/logs/calibrate_final/final.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("calibrate_final"),
        runtime=minutes("calibrate_final"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        code=code("calibrate_final"),
    message:
        "Pool the calibrations of all splits for the final models"
    shell:
        "python -m cellvit calibrate_final --members {input.members:q} --tiles {input.tiles:q} "
        "--features {input.features:q} --checkpoints {input.checkpoints:q} --of-splits {input.of_splits:q} "
        "--novelties {input.novelties:q} --calibrations {output.calibrations:q} --novelty {output.novelty:q} "
        "--code {params.code} --timing {output.timing:q} --cache {resources.cache:q} "
        "--cache-gb {resources.cache_gb} > {log:q} 2>&1"
