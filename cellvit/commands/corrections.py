"""Command `corrections`: make a data set from nuclei that you corrected in QuPath.

Example: cellvit corrections slide.svs corrected.geojson --model bundles/final --out my_corrections
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, get_args

from PIL import Image

from cellvit.data.annotations.options import Kind
from cellvit.data.corrections import Corrections, check_classes, cut_regions, read_corrections
from cellvit.data.pannuke import SIMULATED_MARK
from cellvit.data.slides.listing import images_of
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide
from cellvit.data.slides.simulated import SIMULATED_NOTE
from cellvit.errors import ContractError
from cellvit.formats.atomic import replacing, write_text
from cellvit.formats.bundle import BundleDocument, read_bundle
from cellvit.formats.bundle_hub import bundle_folder
from cellvit.formats.locks import locked
from cellvit.formats.own_description import DESCRIPTION, OwnDescription, read_description, write_description
from cellvit.formats.own_draft import PALETTE
from cellvit.formats.own_fields import AnnotationFiles, OwnClass
from cellvit.formats.own_tiles import TABLE, OwnTile, read_own_tiles, write_own_tiles
from cellvit.workflow.finetuning import FINETUNING, finetuning_yaml

CHECKED: Final = "Checked"
"""Class of the outlines around regions that were looked at as a whole (decision). Not "Region*", which QuPath also gives to
outlines that nobody has looked at."""

_IMAGES: Final = Path("images")
_ANNOTATIONS: Final = Path("annotations")
_KIND: Final = "geojson"
_LOCK: Final = ".corrections.lock"
_UM_PER_INCH: Final = 25_400

_EPILOG: Final = """\
examples:
  cellvit corrections slide.svs corrected.geojson --model bundles/final --out my_corrections
      cuts each annotation of the class Checked out of the slide, with the corrected nuclei in it, and writes
      my_corrections/dataset.yaml, tiles.csv, and finetune.yaml with settings; a second call with another slide adds to them

In QuPath, look at a region as a whole: delete objects that are not nuclei, outline nuclei that were missed, correct classes; then draw a
rectangle around the region and give it the class Checked. docs/corrections.md shows every step.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The command line.

    Attributes:
        new_classes: Classes that the model does not have.
        mpp: Micrometres per pixel of the slide; None if its file states it.
    """

    slide: Path
    corrected: Path
    model: str
    out: Path
    checked: str
    new_classes: tuple[str, ...]
    organ: str
    patient: str
    mpp: float | None
    force: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("slide", type=Path, metavar="SLIDE", help="the image or slide that was predicted")
    parser.add_argument("corrected", type=Path, metavar="CORRECTED.geojson", help="objects exported from QuPath")
    parser.add_argument(
        "--model",
        required=True,
        metavar="BUNDLE",
        help="bundle of the prediction, or hf-hub:owner/name: classes, mpp, licence",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set; slides are added to it")
    parser.add_argument(
        "--checked", default=CHECKED, metavar="CLASS", help=f"class of the regions (default: {CHECKED})"
    )
    parser.add_argument(
        "--new-class",
        action="append",
        default=[],
        dest="new_classes",
        metavar="NAME",
        help="a class of nuclei that the model does not have; may be given several times",
    )
    parser.add_argument(
        "--organ", default="", help="organ of the slide, whose decoder is fine-tuned (default: not known)"
    )
    parser.add_argument("--patient", default="", help="patient of the slide (default: the name of the slide)")
    parser.add_argument("--mpp", type=float, help="micrometres per pixel of the slide, if its file does not state it")
    parser.add_argument("--force", action="store_true", help="replace what an earlier call wrote for this slide")


def run(args: argparse.Namespace) -> None:
    """Write the images, their annotations, and the two files that describe them.

    Raises:
        MissingInputError: A file does not exist.
        ContractError: A file is not what it must be, no region was checked, or a nucleus in a region has no class.
        SettingsError: The resolution of the slide is not known.
        BusyFolderError: Another process adds a slide to the folder.
    """
    given = {one.name: getattr(args, one.name) for one in fields(_Options)}
    options = _Options(**given | {"new_classes": tuple(args.new_classes)})
    bundle = read_bundle(bundle_folder(options.model))
    description = _description(options, bundle.document)
    corrections = read_corrections(options.corrected, options.checked)
    check_classes(corrections, description.class_numbers)
    [job] = images_of((options.slide,))
    with locked(options.out / _LOCK, "adds corrections to this data set"):
        others, earlier = _earlier_rows(options, job.name)
        rows, n_by_class = _write_regions(options, job.name, corrections, description, bundle.document.dataset.mpp)
        write_description(options.out / DESCRIPTION, description)
        write_own_tiles(options.out / TABLE, [*others, *rows])
        write_text(options.out / FINETUNING, finetuning_yaml(bundle, options.out, options.organ))
        for name in _files(earlier) - _files(rows):
            (options.out / name).unlink(missing_ok=True)
    sys.stdout.writelines(f"{line}\n" for line in _lines(options, corrections, rows, n_by_class, len(others)))


def _description(options: _Options, model: BundleDocument) -> OwnDescription:
    """The description that the folder has already, or a new one with the classes and the licence of the model."""
    path = options.out / DESCRIPTION
    if path.exists():
        found = read_description(path, kinds=get_args(Kind))
        if options.checked not in found.annotations.region_classes:
            raise ContractError(
                f"{path}: annotations.region_classes: expected {options.checked!r} in it, found "
                f"{list(found.annotations.region_classes)}. Fix: choose another folder by --out, or the class by --checked."
            )
        return found
    classes = [OwnClass(name=one.name, color=one.color) for one in model.dataset.classes]
    classes += [
        OwnClass(name=name, color=PALETTE[(len(classes) + number) % len(PALETTE)])
        for number, name in enumerate(options.new_classes)
    ]
    return OwnDescription(
        name=options.out.resolve().name[:64],
        mpp=None,
        classes=tuple(classes),
        licence=model.dataset.licence,
        commercial_use=model.commercial_use,
        annotations=AnnotationFiles(kind=_KIND, region_classes=(options.checked,)),
    )


def _earlier_rows(options: _Options, name: str) -> tuple[list[OwnTile], list[OwnTile]]:
    """Lines of tiles.csv of other slides, and those of this slide, which are replaced."""
    path = options.out / TABLE
    rows = read_own_tiles(path) if path.exists() else ()
    earlier = [row for row in rows if Path(row.image).parent == _IMAGES / name]
    if earlier and not options.force:
        raise ContractError(
            f"{path}: it has {len(earlier)} images of the slide {name} already, and was not changed. Fix: add --force to "
            "replace them, or rename the slide if it is another one."
        )
    return [row for row in rows if row not in earlier], earlier


def _write_regions(
    options: _Options, name: str, corrections: Corrections, description: OwnDescription, model_mpp: float
) -> tuple[list[OwnTile], Counter[str]]:
    """Write image and annotation of each region; its lines of tiles.csv, and the nuclei by class."""
    colors = {name: description.classes[number - 1].color for name, number in description.class_numbers.items()}
    rows, n_by_class = list[OwnTile](), Counter[str]()
    with closing(open_slide(options.slide, mpp=options.mpp)) as slide:
        pixels = ModelPixels(slide, model_mpp)
        mpp = model_mpp if pixels.scale != 1 else slide.mpp or model_mpp
        for region in cut_regions(corrections, pixels, colors):
            place = Path(name) / f"x{region.x}_y{region.y}"
            row = OwnTile(
                image=f"{_IMAGES / place}.png",
                annotation=f"{_ANNOTATIONS / place}.geojson",
                organ=options.organ,
                patient=options.patient or name,
                mpp=mpp,
            )
            with replacing(options.out / row.image) as temporary:
                Image.fromarray(region.pixels).save(temporary, format="png", dpi=(_UM_PER_INCH / mpp,) * 2)
            write_text(options.out / row.annotation, json.dumps(region.annotation))
            rows.append(row)
            n_by_class += region.n_by_class
        if SIMULATED_NOTE in slide.notes:
            write_text(options.out / SIMULATED_MARK, json.dumps({"simulated": True, "notice": SIMULATED_NOTE}) + "\n")
    return rows, n_by_class


def _files(rows: Sequence[OwnTile]) -> set[str]:
    return {file for row in rows for file in (row.image, row.annotation)}


def _lines(
    options: _Options, corrections: Corrections, rows: Sequence[OwnTile], n_by_class: Counter[str], n_others: int
) -> Iterator[str]:
    yield f"{len(rows)} regions of {options.slide.name}, {n_by_class.total():,} nuclei:"
    yield from (f"  {name}: {n:,}" for name, n in n_by_class.most_common())
    if corrections.counts:
        yield "left out or changed while reading: " + ", ".join(f"{n} {name}" for name, n in corrections.counts.items())
    yield f"{options.out}: {len(rows) + n_others} images, {n_others} of them of other slides"
    yield f"Look at the annotations:  python -m cellvit show {shlex.quote(str(options.out))}"
    yield f"Then fine-tune:  snakemake --cores all --configfile {shlex.quote(str(options.out / FINETUNING))}"
