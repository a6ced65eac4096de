"""Stage `predict_image`: one image or slide, bundles -> its nuclei, tables, pictures and page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cellvit.config.prediction import PredictionSettings
from cellvit.formats.bundle import read_bundle
from cellvit.formats.bundle_hub import bundle_folder
from cellvit.prediction.images import Prediction
from cellvit.prediction.request import Request
from cellvit.workflow.arguments import Code, DeviceChoice, How, Input, Output, Setting, Threads, Through


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[PredictionSettings, Setting("JSON: settings of the prediction of this image")]
    image: Annotated[Path, Input("image or slide")]
    name: Annotated[str, Setting("name of the image in messages")]
    models: Annotated[tuple[str, ...], Setting("folders of bundles, or hf-hub:owner/name")]
    bundles: Annotated[tuple[Path, ...], Through("documents of the bundles that are made in this run")] = ()
    regions: Annotated[Path | None, Input("GeoJSON of the regions to analyse")] = None
    run: Annotated[Path, Output("JSON to write last: what was predicted")]
    encoder_weights: Annotated[Path | None, How("file of the weights of the encoder")] = None
    batch_size: Annotated[int | None, How("tiles that are predicted together")] = None
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Predict the image; a prediction that was killed is continued.

    Raises:
        CellvitError: The image or the models cannot be used.
    """
    request = Request(
        path=arguments.image,
        name=arguments.name,
        settings=arguments.settings,
        regions=arguments.regions,
        batch_size=arguments.batch_size,
    )
    prediction = Prediction(
        tuple(read_bundle(bundle_folder(model)) for model in arguments.models),
        arguments.device,
        arguments.encoder_weights,
        threads=arguments.threads,
    )
    failed = prediction.images([request], lambda _: arguments.run.parent)
    for error in failed.values():
        raise error
