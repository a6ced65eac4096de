"""PanNuke folds (simulated where asked for) to tile stores."""

RAW = {name: str(path) for name, path in fold_files(Path(DATA_ROOT), "{fold}").by_name.items()}
PATIENTS = str(fold_files(Path(DATA_ROOT), "{fold}").patients)


if SETTINGS.data.simulated:

    rule simulate_pannuke:
        output:
            **RAW,
            mark=f"{DATA_ROOT}/Fold {{fold}}/{SIMULATED_MARK}",
        log:
            "<results>/logs/simulate_pannuke/fold{fold}.log",
        benchmark:
            "<results>/timings/simulate_pannuke/fold{fold}.tsv"
        conda:
            "../envs/cpu.yaml"
        threads: 1
        resources:
            mem_mb=memory("simulate_pannuke"),
            runtime=minutes("simulate_pannuke"),
        params:
            settings=settings("simulate_pannuke"),
            code=code("simulate_pannuke"),
        message:
            f"Simulated fold {{wildcards.fold}} in PanNuke's layout: {SETTINGS.data.simulated.tiles_per_fold:,} tiles"
        shell:
            "python -m cellvit simulate_pannuke --settings {params.settings:q} --root {DATA_ROOT:q} "
            "--fold {wildcards.fold} > {log} 2>&1"


checkpoint prepare_fold:
    input:
        # Content decides (params.content): a fold that was only touched is not prepared again.
        **{name: ancient(path) for name, path in RAW.items()},
        patients=ancient(where_present(PATIENTS)),
        mark=(f"{DATA_ROOT}/Fold {{fold}}/{SIMULATED_MARK}" if SETTINGS.data.simulated else []),
    output:
        tiles=TILES,
        summary="<results>/tiles/fold{fold}.json",
        seal=SEALED_TILES,
    log:
        "<results>/logs/prepare_fold/fold{fold}.log",
    benchmark:
        "<results>/timings/prepare_fold/fold{fold}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("prepare_fold"),
        runtime=minutes("prepare_fold"),
    params:
        content=content(list(RAW.values()), "raw_fold{fold}.json", optional=[PATIENTS]),
        code=code("prepare_fold"),
    message:
        "Tile store of fold {wildcards.fold}, every claim about the raw data checked"
    shell:
        "python -m cellvit prepare_fold --root {DATA_ROOT:q} --fold {wildcards.fold} "
        "--tiles {output.tiles:q} --summary {output.summary:q} --seal {output.seal:q} > {log} 2>&1"
