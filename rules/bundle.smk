"""Trained models with all that their use needs, in one folder (`snakemake bundle`; final models: final.smk)."""


rule gather_bundle:
    input:
        checkpoints=of_families("<results>/checkpoints/split{split}/hovernet_{family}.safetensors"),
        watersheds=of_families("<results>/watershed/split{split}/{family}.json"),
        calibrations=of_families("<results>/calibration/split{split}/{family}.json"),
        novelty="<results>/calibration/split{split}/novelty.safetensors",
        organ_head="<results>/checkpoints/split{split}/organ_head.safetensors" if graph.has_organ_head else [],
        routed="<results>/evaluation/split{split}/routed.json" if graph.has_organ_head else [],
        feature_checks=of_folds("<results>/features/fold{fold}_check.json", "train"),
        summary="<results>/summary.csv",
        summary_origin="<results>/summary.json",
    output:
        # A decoder that could not be trained has its files too: they record why (docs/decisions/0002-absence-is-a-result.md).
        decoders=expand("<results>/bundles/split{{split}}/hovernet_{family}.safetensors", family=FAMILIES),
        watersheds=expand("<results>/bundles/split{{split}}/watershed_{family}.json", family=FAMILIES),
        calibrations=expand("<results>/bundles/split{{split}}/calibration_{family}.json", family=FAMILIES),
        novelty="<results>/bundles/split{split}/novelty.safetensors",
        organ_head=["<results>/bundles/split{split}/organ_head.safetensors"] if graph.has_organ_head else [],
        card="<results>/bundles/split{split}/README.md",
        bundle="<results>/bundles/split{split}/bundle.json",
    log:
        "<results>/logs/gather_bundle/split{split}.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("gather_bundle"),
        runtime=minutes("gather_bundle"),
    params:
        settings=settings("gather_bundle"),
        code=code("gather_bundle"),
        split=split_of,
    message:
        "Gather the models of split {wildcards.split} into a bundle"
    # No result cache: the step copies files, as the cache would.
    shell:
        "python -m cellvit gather_bundle --settings {params.settings:q} --split {params.split} "
        "--checkpoints {input.checkpoints:q} --watersheds {input.watersheds:q} --calibrations {input.calibrations:q} "
        "--novelty {input.novelty:q} --organ-head {input.organ_head:q} --routed {input.routed:q} "
        "--feature-checks {input.feature_checks:q} --summary {input.summary:q} --summary-origin {input.summary_origin:q} "
        "--bundle {output.bundle:q} --code {params.code} > {log:q} 2>&1"
