"""Decoders on the test folds, once: organ known, then organ predicted; and the summary with graded gates."""


def pooled(*paths):
    """Function for `input`: files of the pooled control, for every family but itself."""
    return lambda wildcards: (
        expand(paths, split=wildcards.split, family=SHARED_FAMILY)
        if SHARED_FAMILY in FAMILIES and wildcards.family != SHARED_FAMILY
        else []
    )


EVALUATED = together(
    [SEALED_DECODER, WATERSHED],
    pooled(SEALED_DECODER, WATERSHED),
    of_folds(SEALED_FAMILY, "train", "test"),
)
ROUTED = together(
    of_folds(SEALED_TILES, "test"),
    of_folds(SEALED_FEATURES, "test"),
    [SEALED_ORGAN_HEAD, *of_families([SEALED_DECODER, WATERSHED, f"{EVALUATION}_tiles.csv"], OWN_FAMILIES)],
)
SUMMARIZED = [
    *everywhere([f"{EVALUATION}.json", WATERSHED]),
    *expand(["<results>/evaluation/split{split}/routed.json", ORGAN_HEAD_EVALUATION], split=SPLITS),
]


checkpoint evaluate_family:
    input:
        **FAMILY,
        checkpoint=ancient(CHECKPOINT),
        watershed=WATERSHED,
        pooled_checkpoint=ancient(pooled(CHECKPOINT)),
        pooled_watershed=pooled(WATERSHED),
        reasons=EVALUATED,
        gates=ancient(TARGET_CHECK),
        behind=ancient(together(OF_FOLDS + OF_FAMILY + OF_DECODER, pooled(*OF_FAMILY_AND_DECODER))),
    output:
        evaluation=report(
            f"{EVALUATION}.json",
            caption="captions/evaluation.rst",
            category="Evaluation",
            labels={"split": "{split}", "what": "{family}"},
        ),
        tiles=f"{EVALUATION}_tiles.csv",
    log:
        "<results>/logs/evaluate_family/split{split}_{family}.log",
    benchmark:
        "<results>/timings/evaluate_family/split{split}_{family}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=memory("evaluate_family"),
        runtime=minutes("evaluate_family"),
    params:
        settings=settings("evaluate_family"),
        reasons=hashed(EVALUATED, gates=[TARGET_CHECK]),
        code=code("evaluate_family"),
        train=folds_of("train"),
        test=folds_of("test"),
        pooled=lambda wildcards, input: (
            f"--pooled-checkpoint {input.pooled_checkpoint} --pooled-watershed {input.pooled_watershed}"
            if input.pooled_checkpoint
            else ""
        ),
    message:
        "Family {wildcards.family} on the test folds of split {wildcards.split}: "
        "{TILES_OF:family {wildcards.family} split {wildcards.split} role test}"
    shell:
        "python -m cellvit evaluate_family --settings {params.settings:q} --split {wildcards.split} "
        "--family {wildcards.family} --train-folds {params.train} --test-folds {params.test} "
        "--features {input.features:q} --targets {input.targets:q} --checkpoint {input.checkpoint:q} "
        "--watershed {input.watershed:q} {params.pooled} --out {output.evaluation:q} --tiles-csv {output.tiles:q} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"


checkpoint evaluate_routed:
    input:
        tiles=ancient(of_folds(TILES, "test")),
        features=ancient(of_folds(FEATURES, "test")),
        organ_head=ancient("<results>/checkpoints/split{split}/organ_head.safetensors"),
        checkpoints=ancient(of_families(CHECKPOINT, OWN_FAMILIES)),
        watersheds=of_families(WATERSHED, OWN_FAMILIES),
        family_tiles=of_families(f"{EVALUATION}_tiles.csv", OWN_FAMILIES),
        family_evaluations=ancient(of_families(f"{EVALUATION}.json", OWN_FAMILIES)),
        reasons=ROUTED,
        behind=ancient(OF_FOLDS + OF_ORGAN_HEAD + of_families(OF_FAMILY + OF_DECODER, FAMILIES)),
    output:
        evaluation=report(
            "<results>/evaluation/split{split}/routed.json",
            caption="captions/routed.rst",
            category="Evaluation",
            labels={"split": "{split}", "what": "all tiles, organ predicted"},
        ),
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
        mem_mb=memory("evaluate_routed"),
        runtime=minutes("evaluate_routed"),
    params:
        settings=settings("evaluate_routed"),
        reasons=hashed(ROUTED),
        code=code("evaluate_routed"),
        test=folds_of("test"),
    message:
        "Test folds of split {wildcards.split}, organ predicted by OrganHead: "
        "{TILES_OF:split {wildcards.split} role test}"
    shell:
        "python -m cellvit evaluate_routed --settings {params.settings:q} --split {wildcards.split} "
        "--test-folds {params.test} --features {input.features:q} --tiles {input.tiles:q} "
        "--organ-head {input.organ_head:q} --checkpoints {input.checkpoints:q} --watersheds {input.watersheds:q} "
        "--family-tiles {input.family_tiles:q} --family-evaluations {input.family_evaluations:q} "
        "--out {output.evaluation:q} --tiles-csv {output.tiles:q} "
        "--device {DEVICE} --threads {threads} > {log} 2>&1"


checkpoint summarize:
    input:
        evaluations=everywhere(f"{EVALUATION}.json"),
        routed=expand("<results>/evaluation/split{split}/routed.json", split=SPLITS),
        organ_heads=expand(ORGAN_HEAD_EVALUATION, split=SPLITS),
        watersheds=everywhere(WATERSHED),
        behind=ancient(OF_EVERYTHING),
    output:
        summary=report(
            "<results>/summary.csv",
            caption="captions/summary.rst",
            category="Summary",
            labels={"what": "every figure"},
        ),
        table=report(
            "<results>/summary.txt",
            caption="captions/summary_table.rst",
            category="Summary",
            labels={"what": "main figures"},
        ),
        origin="<results>/summary.json",
    log:
        "<results>/logs/summarize/summary.log",
    benchmark:
        "<results>/timings/summarize/summary.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("summarize"),
        runtime=minutes("summarize"),
    params:
        settings=settings("summarize"),
        reasons=hashed(SUMMARIZED),
        code=code("summarize"),
    message:
        f"Summary of families ({len(FAMILIES)}) and splits ({len(SPLITS)}), gates graded"
    shell:
        "python -m cellvit summarize --settings {params.settings:q} --evaluations {input.evaluations:q} "
        "--routed {input.routed:q} --organ-heads {input.organ_heads:q} --watersheds {input.watersheds:q} "
        "--out {output.summary:q} --table {output.table:q} --origin {output.origin:q} > {log} 2>&1"
