"""Decoders on the test folds, once: organ given, then organ predicted; the graded summary and the page."""


rule evaluate_family:
    input:
        members=of_folds("<results>/families/{base_family}/fold{fold}.h5", "train", "test"),
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "train", "test"),
        features=of_folds("<results>/features/fold{fold}.h5", "train", "test"),
        checkpoint="<results>/checkpoints/split{split}/hovernet_{family}.safetensors",
        watershed="<results>/watershed/split{split}/{family}.json",
        shared_checkpoint=of_shared_decoder("<results>/checkpoints/split{split}/hovernet_{family}.safetensors"),
        shared_watershed=of_shared_decoder("<results>/watershed/split{split}/{family}.json"),
    output:
        evaluation=report(
            "<results>/evaluation/split{split}/{family}.json",
            caption="captions/evaluation.rst",
            category="Evaluation",
            labels={"split": "{split}", "what": "{family}"},
        ),
        table="<results>/evaluation/split{split}/{family}_tiles.csv",
        gallery="<results>/evaluation/split{split}/{family}_gallery.json",
        timing="<results>/timings/evaluate_family/split{split}_{family}.json",
    log:
        "<results>/logs/evaluate_family/split{split}_{family}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("evaluate_family"),
        runtime=minutes("evaluate_family", times=PASSES),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("evaluate_family"),
        code=code("evaluate_family"),
        train=folds("train"),
        test=folds("test"),
    message:
        "Evaluate family {wildcards.family} on the test folds, split {wildcards.split}"
    shell:
        "python -m cellvit evaluate_family --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --train-folds {params.train} --test-folds {params.test} --members {input.members:q} "
        "--tiles {input.tiles:q} --features {input.features:q} --checkpoint {input.checkpoint:q} "
        "--watershed {input.watershed:q} --shared-checkpoint {input.shared_checkpoint:q} "
        "--shared-watershed {input.shared_watershed:q} --evaluation {output.evaluation:q} --table {output.table:q} "
        "--gallery {output.gallery:q} --device {resources.device} --threads {threads} --code {params.code} "
        "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule evaluate_routed:
    input:
        tiles=of_folds("<results>/tiles/fold{fold}.h5", "test"),
        features=of_folds("<results>/features/fold{fold}.h5", "test"),
        organ_head="<results>/checkpoints/split{split}/organ_head.safetensors",
        checkpoints=of_families("<results>/checkpoints/split{split}/hovernet_{family}.safetensors"),
        watersheds=of_families("<results>/watershed/split{split}/{family}.json"),
        evaluations=of_families("<results>/evaluation/split{split}/{family}.json"),
        tables=of_families("<results>/evaluation/split{split}/{family}_tiles.csv"),
    output:
        evaluation=report(
            "<results>/evaluation/split{split}/routed.json",
            caption="captions/routed.rst",
            category="Evaluation",
            labels={"split": "{split}", "what": "all tiles, organ predicted"},
        ),
        table="<results>/evaluation/split{split}/routed_tiles.csv",
        timing="<results>/timings/evaluate_routed/split{split}.json",
    log:
        "<results>/logs/evaluate_routed/split{split}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("evaluate_routed"),
        runtime=minutes("evaluate_routed", times=PASSES),
        device=DEVICE,
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("evaluate_routed"),
        code=code("evaluate_routed"),
        test=folds("test"),
    message:
        "Evaluate all test tiles with the organ predicted, split {wildcards.split}"
    shell:
        "python -m cellvit evaluate_routed --settings {params.settings:q} --split {wildcards.split} "
        "--test-folds {params.test} --tiles {input.tiles:q} --features {input.features:q} "
        "--organ-head {input.organ_head:q} --checkpoints {input.checkpoints:q} --watersheds {input.watersheds:q} "
        "--evaluations {input.evaluations:q} --tables {input.tables:q} --evaluation {output.evaluation:q} "
        "--table {output.table:q} --device {resources.device} --threads {threads} --code {params.code} "
        "--timing {output.timing:q} --cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule summarize:
    input:
        evaluations=expand("<results>/evaluation/split{split}/{family}.json", split=SPLITS, family=FAMILIES),
        repeats=expand("<results>/evaluation/split{split}/{family}.json", split=SPLITS, family=REPEATS),
        routed=expand("<results>/evaluation/split{split}/routed.json", split=ROUTED),
        organ_heads=expand("<results>/evaluation/split{split}/organ_head.json", split=ROUTED),
        watersheds=expand("<results>/watershed/split{split}/{family}.json", split=SPLITS, family=FAMILIES),
        checkpoints=expand(
            "<results>/checkpoints/split{split}/hovernet_{family}.safetensors", split=SPLITS, family=FAMILIES
        ),
        histories=expand(
            "<results>/checkpoints/split{split}/hovernet_{family}_history.csv", split=SPLITS, family=FAMILIES
        ),
    output:
        summary=report(
            "<results>/summary.csv",
            caption="captions/summary.rst",
            category="Summary",
            labels={"what": "every value"},
        ),
        table=report(
            "<results>/summary.txt",
            caption="captions/summary_table.rst",
            category="Summary",
            labels={"what": "main values"},
        ),
        origin="<results>/summary.json",
        timing="<results>/timings/summarize/summary.json",
    log:
        "<results>/logs/summarize/summary.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("summarize"),
        runtime=minutes("summarize"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("summarize"),
        code=code("summarize"),
    message:
        "Summarize all evaluations and grade them"
    shell:
        "python -m cellvit summarize --settings {params.settings:q} --evaluations {input.evaluations:q} "
        "--repeats {input.repeats:q} --routed {input.routed:q} --organ-heads {input.organ_heads:q} --watersheds {input.watersheds:q} "
        "--checkpoints {input.checkpoints:q} --histories {input.histories:q} --summary {output.summary:q} "
        "--table {output.table:q} --origin {output.origin:q} --code {params.code} --timing {output.timing:q} "
        "--cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"


rule build_report:
    input:
        summary="<results>/summary.csv",
        summary_origin="<results>/summary.json",
        evaluations=expand("<results>/evaluation/split{split}/{family}.json", split=SPLITS, family=FAMILIES),
        tables=expand("<results>/evaluation/split{split}/{family}_tiles.csv", split=SPLITS, family=FAMILIES),
        galleries=expand("<results>/evaluation/split{split}/{family}_gallery.json", split=SPLITS, family=FAMILIES),
        routed=expand("<results>/evaluation/split{split}/routed.json", split=ROUTED),
        organ_heads=expand("<results>/evaluation/split{split}/organ_head.json", split=ROUTED),
        checkpoints=expand(
            "<results>/checkpoints/split{split}/hovernet_{family}.safetensors", split=SPLITS, family=FAMILIES
        ),
        histories=expand(
            "<results>/checkpoints/split{split}/hovernet_{family}_history.csv", split=SPLITS, family=FAMILIES
        ),
        watersheds=expand("<results>/watershed/split{split}/{family}.json", split=SPLITS, family=FAMILIES),
        calibrations=expand("<results>/calibration/split{split}/{family}.json", split=SPLITS, family=FAMILIES),
        novelties=expand("<results>/calibration/split{split}/novelty.safetensors", split=SPLITS),
        folds=expand("<results>/tiles/fold{fold}.json", fold=FOLDS),
        folds_check="<results>/tiles/folds_check.json",
        own_data=["<results>/tiles/own_data.json"] if graph.is_own else [],
        target_checks=expand("<results>/tiles/fold{fold}_check.json", fold=FOLDS),
        feature_checks=expand("<results>/features/fold{fold}_check.json", fold=FOLDS),
        finals=[],
        final_watersheds=[],
        timings=[
            rules.check_folds.output.timing,
            *(
                [rules.prepare_own_data.output.timing]
                if graph.is_own
                else expand(rules.prepare_fold.output.timing, fold=FOLDS)
            ),
            *expand(
                [
                    rules.check_targets.output.timing,
                    rules.extract_features.output.timing,
                    rules.check_features.output.timing,
                ],
                fold=FOLDS,
            ),
            *expand(
                [
                    rules.train_organ_head.output.timing,
                    rules.evaluate_organ_head.output.timing,
                    rules.evaluate_routed.output.timing,
                ],
                split=ROUTED,
            ),
            *expand(
                [
                    rules.train_hovernet.output.timing,
                    rules.tune_watershed.output.timing,
                    rules.evaluate_family.output.timing,
                ],
                split=SPLITS,
                family=[*FAMILIES, *REPEATS],
            ),
            *expand(rules.average_maps.output.timing, split=SPLITS, family=AVERAGED),
            *expand(rules.calibrate.output.timing, split=SPLITS),
        ],
    output:
        page=report(
            "<results>/report/index.html",
            caption="captions/page.rst",
            category="Summary",
            labels={"what": "page of the run"},
        ),
        timing="<results>/timings/build_report/report.json",
    log:
        "<results>/logs/build_report/report.log",
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("build_report"),
        runtime=minutes("build_report"),
        cache=CACHE,
        cache_gb=CACHE_GB,
    params:
        settings=settings("build_report"),
        code=code("build_report"),
    message:
        "Write the page of the run"
    shell:
        "python -m cellvit build_report --settings {params.settings:q} --summary {input.summary:q} "
        "--summary-origin {input.summary_origin:q} --evaluations {input.evaluations:q} --tables {input.tables:q} "
        "--galleries {input.galleries:q} --routed {input.routed:q} --organ-heads {input.organ_heads:q} "
        "--checkpoints {input.checkpoints:q} --histories {input.histories:q} --watersheds {input.watersheds:q} "
        "--calibrations {input.calibrations:q} --novelties {input.novelties:q} "
        "--folds {input.folds:q} --folds-check {input.folds_check:q} --own-data {input.own_data:q} --target-checks {input.target_checks:q} "
        "--feature-checks {input.feature_checks:q} --finals {input.finals:q} --final-watersheds {input.final_watersheds:q} "
        "--timings {input.timings:q} --page {output.page:q} --code {params.code} --timing {output.timing:q} "
        "--cache {resources.cache:q} --cache-gb {resources.cache_gb} > {log:q} 2>&1"
