"""The trained models in use: nuclei of images and slides (`snakemake predict`), one job for each image."""

from cellvit.prediction.request import computing_code
from cellvit.workflow.predicted import Predicted
from cellvit.workflow.resources import SLIDE_TILES

predicted = Predicted(SETTINGS)


rule predict_image:
    input:
        image=predicted.image,
        regions=predicted.regions,
        bundles=predicted.made_here,
    output:
        **{kind: f"<results>/predictions/{{slide}}/{name}" for kind, name in predicted.files.items()},
        run="<results>/predictions/{slide}/run.json",
        timing="<results>/timings/predict_image/{slide}.json",
    log:
        "<results>/logs/predict_image/{slide}.log",
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=memory("predict_image"),
        runtime=minutes("predict_image", tiles=lambda _: SLIDE_TILES),
        device=DEVICE,
    params:
        settings=predicted.settings_of,
        models=predicted.models,
        code=computing_code(),
    message:
        "Predict the nuclei of {wildcards.slide}"
    # No result cache: the step knows by itself what is finished, also within an image, and its files are used elsewhere.
    shell:
        "python -m cellvit predict_image --settings {params.settings:q} --image {input.image:q} --name {wildcards.slide:q} "
        "--models {params.models:q} --bundles {input.bundles:q} --regions {input.regions:q} --run {output.run:q} "
        "--device {resources.device} --threads {threads} --code {params.code} --timing {output.timing:q} > {log:q} 2>&1"


rule index_predictions:
    input:
        runs=lambda _: expand("<results>/predictions/{slide}/run.json", slide=predicted.jobs),
    output:
        page="<results>/predictions/index.html",
        table="<results>/predictions/index.csv",
    log:
        "<results>/logs/index_predictions/index.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=memory("index_predictions"),
        runtime=minutes("index_predictions"),
    params:
        code=code("index_predictions"),
    message:
        "List the predictions of all images"
    shell:
        "python -m cellvit index_predictions --runs {input.runs:q} --page {output.page:q} --code {params.code} > {log:q} 2>&1"
