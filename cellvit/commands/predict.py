"""Command `predict`: find, outline and classify the nuclei of images and slides.

Example: cellvit predict slide.svs --model results/bundles/split1 --out predictions
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError

from cellvit.config.prediction import PredictionSettings
from cellvit.config.settings import Device
from cellvit.data.slides.listing import ImageJob, images_of
from cellvit.errors import CellvitError, SettingsError
from cellvit.formats.bundle import Bundle, read_bundle
from cellvit.formats.bundle_hub import bundle_folder
from cellvit.prediction.images import Prediction, reason_of
from cellvit.prediction.outputs.index import write_index
from cellvit.prediction.request import Request
from cellvit.systems import usable_processors
from cellvit.workflow.gpu import assign_gpu

_EPILOG: Final = """\
examples:
  cellvit predict slide.svs --model results/bundles/split1 --out predictions
      predicts the tissue of a slide; predictions/slide/nuclei.geojson opens in QuPath, report.html in a browser
  cellvit predict slides/ --model bundle --out predictions --organ Colon
      predicts every image of a folder; started again, it continues where it was stopped
  cellvit predict field.png --mpp 0.25 --model split1 --model split2 --model split3 --out predictions
      averages the maps of three bundles; the resolution is given because the file does not state it

docs/predict.md explains the files that are written.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; the settings of the section `prediction` have the same names."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="image or slide, a folder of them, or a CSV (column path)"
    )
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="BUNDLE",
        help="folder of a bundle, or hf-hub:owner/name; several are averaged",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; one folder per image")
    _add_options(parser)
    computing = parser.add_argument_group("computing")
    computing.add_argument("--device", choices=get_args(Device), default="auto", help="default: auto")
    computing.add_argument(
        "--threads", type=int, default=usable_processors(), help="processor cores to use (default: all)"
    )
    computing.add_argument("--batch-size", type=int, help="tiles that are predicted together (default: by the device)")
    computing.add_argument("--encoder-weights", type=Path, metavar="FILE", help="file of the encoder's weights")
    computing.add_argument("--force", action="store_true", help="predict finished images again, from the start")


def run(args: argparse.Namespace) -> None:
    """Predict the images and write the index.

    Raises:
        CellvitError: The models cannot be used, or some of several images failed; the message lists them.
    """
    jobs = images_of(args.images)
    bundles = tuple(bundle_named(name) for name in args.model)
    requests = [_request(job, args) for job in jobs]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.device in {"auto", "cuda"}:
        assign_gpu("predict")
    prediction = Prediction(bundles, args.device, args.encoder_weights, threads=args.threads, force=args.force)
    failed = prediction.images(requests, lambda request: args.out / request.name)
    write_index(args.out)
    sys.stdout.write(f"{len(jobs) - len(failed)} of {len(jobs)} images: {args.out / 'index.html'}\n")
    if len(jobs) == 1 and failed:
        raise next(iter(failed.values()))  # with the exit code of its kind
    if failed:
        lines = "".join(f"\n{path}: {reason_of(error)}" for path, error in failed.items())
        raise CellvitError(f"{len(failed)} of {len(jobs)} images could not be predicted:{lines}")


def bundle_named(name: str) -> Bundle:
    """The bundle in a folder, or on the Hugging Face hub; raises as `read_bundle` and `pull_bundle`."""
    return read_bundle(bundle_folder(name))


def _add_options(parser: argparse.ArgumentParser) -> None:
    fields = PredictionSettings.model_fields
    where = parser.add_argument_group("where")
    where.add_argument("--area", choices=["auto", "whole", "tissue"], help=_help(fields["area"]))
    where.add_argument("--region", metavar="X,Y,W,H", default="", help="rectangle in pixels of the full resolution")
    where.add_argument("--regions", type=Path, metavar="GEOJSON", help="regions, as QuPath exports annotations")
    how = parser.add_argument_group("how")
    how.add_argument("--mpp", type=float, metavar="UM", help=_help(fields["mpp"]))
    how.add_argument("--organ", help=_help(fields["organ"]))
    how.add_argument("--overlap-px", type=int, metavar="PX", help=_help(fields["overlap_px"]))
    how.add_argument("--average-views", action="store_true", default=None, help=_help(fields["average_views"]))
    how.add_argument("--unlike", choices=["mark", "shared"], help=_help(fields["unlike"]))
    written = parser.add_argument_group("files")
    written.add_argument("--table", choices=["csv", "parquet"], help=_help(fields["table"]))
    written.add_argument("--compress", action="store_true", default=None, help=_help(fields["compress"]))


def _help(field: Any) -> str:
    default = "" if field.default is None or field.default is False else f" (default: {field.default})"
    return f"{field.description}{default}".replace("%", "%%")


def _request(job: ImageJob, args: argparse.Namespace) -> Request:
    names = ("area", "mpp", "organ", "overlap_px", "average_views", "unlike", "table", "compress")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    own = {name: value for name in ("mpp", "organ") if (value := getattr(job, name))}
    return Request(
        path=job.path,
        name=job.name,
        settings=_settings({**given, **own}),
        region=args.region,
        regions=job.regions or args.regions,
        batch_size=args.batch_size,
    )


def _settings(given: dict[str, Any]) -> PredictionSettings:
    try:
        return PredictionSettings.model_validate(given)
    except ValidationError as error:
        reasons = "; ".join(
            f"--{'-'.join(map(str, fault['loc'])).replace('_', '-')}: {fault['msg']}, found {fault['input']!r}"
            for fault in error.errors()
        )
        raise SettingsError(f"{reasons}. Fix: cellvit predict --help shows the limits") from error
