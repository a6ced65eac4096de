"""Final models on all folds (`snakemake final`): the same steps, without validation and test."""


use rule train_organ_head as train_organ_head_final with:
    input:
        tiles=expand("<results>/tiles/fold{fold}.h5", fold=FOLDS),
        features=expand("<results>/features/fold{fold}.h5", fold=FOLDS),
        checks=expand("<results>/features/fold{fold}_check.json", fold=FOLDS),
        splits=expand("<results>/checkpoints/split{split}/organ_head.safetensors", split=SPLITS),
    output:
        checkpoint="<results>/checkpoints/final/organ_head.safetensors",
        history="<results>/checkpoints/final/organ_head_history.csv",
        timing="<results>/timings/train_organ_head/final.json",
    log:
        "<results>/logs/train_organ_head/final.log",
    message:
        "Train OrganHead on all folds, for use"


use rule train_hovernet as train_hovernet_final with:
    input:
        members=expand("<results>/families/{{family}}/fold{fold}.h5", fold=FOLDS),
        tiles=expand("<results>/tiles/fold{fold}.h5", fold=FOLDS),
        features=expand("<results>/features/fold{fold}.h5", fold=FOLDS),
        start=graph.start("<results>/checkpoints/final/hovernet_{family}.safetensors"),
        unseen=[],
        splits=expand("<results>/checkpoints/split{split}/hovernet_{{family}}.safetensors", split=SPLITS),
    output:
        checkpoint="<results>/checkpoints/final/hovernet_{family}.safetensors",
        history="<results>/checkpoints/final/hovernet_{family}_history.csv",
        maps="<results>/maps/final/{family}.h5",  # without rows
        timing="<results>/timings/train_hovernet/final_{family}.json",
    log:
        "<results>/logs/train_hovernet/final_{family}.log",
    message:
        "Train the decoder of family {wildcards.family} on all folds, for use"


use rule tune_watershed as tune_watershed_final with:
    input:
        checkpoint="<results>/checkpoints/final/hovernet_{family}.safetensors",
        maps=graph.maps(
            "<results>/maps/split{split}/{family}.h5", averaged="<results>/maps/split{split}/averaged/{family}.h5"
        ),
        members=expand("<results>/families/{{family}}/fold{fold}.h5", fold=graph.validated_folds),
        tiles=expand("<results>/tiles/fold{fold}.h5", fold=graph.validated_folds),
    output:
        watershed="<results>/watershed/final/{family}.json",
        timing="<results>/timings/tune_watershed/final_{family}.json",
    log:
        "<results>/logs/tune_watershed/final_{family}.log",
    message:
        "Tune the decoding of the final decoder of family {wildcards.family} on the validation maps of all splits"


use rule build_report as build_report_final with:
    input:
        **{
            **dict(rules.build_report.input.items()),
            "finals": [
                *expand(rules.train_hovernet_final.output.checkpoint, family=FAMILIES),
                *([rules.train_organ_head_final.output.checkpoint] if graph.has_organ_head else []),
            ],
            "final_watersheds": expand(rules.tune_watershed_final.output.watershed, family=FAMILIES),
        },
    output:
        page="<results>/report/final.html",
        timing="<results>/timings/build_report/final.json",
    log:
        "<results>/logs/build_report/final.log",
    message:
        "Write the page of the run with its final models"


use rule gather_bundle as gather_bundle_final with:
    input:
        checkpoints=expand("<results>/checkpoints/final/hovernet_{family}.safetensors", family=FAMILIES),
        watersheds=expand("<results>/watershed/final/{family}.json", family=FAMILIES),
        calibrations=expand("<results>/calibration/final/{family}.json", family=FAMILIES),
        novelty="<results>/calibration/final/novelty.safetensors",
        organ_head="<results>/checkpoints/final/organ_head.safetensors" if graph.has_organ_head else [],
        routed=expand("<results>/evaluation/split{split}/routed.json", split=ROUTED),
        feature_checks=expand("<results>/features/fold{fold}_check.json", fold=FOLDS),
        summary="<results>/summary.csv",
        summary_origin="<results>/summary.json",
    output:
        decoders=expand("<results>/bundles/final/hovernet_{family}.safetensors", family=FAMILIES),
        watersheds=expand("<results>/bundles/final/watershed_{family}.json", family=FAMILIES),
        calibrations=expand("<results>/bundles/final/calibration_{family}.json", family=FAMILIES),
        novelty="<results>/bundles/final/novelty.safetensors",
        organ_head=["<results>/bundles/final/organ_head.safetensors"] if graph.has_organ_head else [],
        card="<results>/bundles/final/README.md",
        bundle="<results>/bundles/final/bundle.json",
    log:
        "<results>/logs/gather_bundle/final.log",
    message:
        "Gather the final models into a bundle"
