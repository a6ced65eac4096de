"""A finished run put aside, and the disk given back. Both run when they are asked for; nothing depends on them."""


rule archive:
    input:
        files=PRODUCTS_TO_ARCHIVE,
        origin="<results>/summary.json",
    log:
        "<results>/logs/archive/archive.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=30,
        results=SETTINGS.results,
    params:
        settings=settings("archive"),
    message:
        "Copy models, evaluations, summary, report and settings into a dated folder"
    shell:
        "python -m cellvit archive --settings {params.settings:q} --results {resources.results:q} --files {input.files:q} "
        "--origin {input.origin:q} 2>&1 | tee {log:q}"


rule clean_features:
    input:
        summary="<results>/summary.csv",
        page="<results>/report/index.html",
    log:
        "<results>/logs/clean_features/clean.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=1_000,
        runtime=30,
        cache=CACHE,
        results=SETTINGS.results,
    params:
        yes=CLEAN,
    message:
        "List the features of a finished run, and remove them on a yes"
    shell:
        "python -m cellvit clean_features --results {resources.results:q} --clean {params.yes:q} "
        "--from-cache {resources.cache:q} 2>&1 | tee {log:q}"
