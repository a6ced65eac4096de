"""Reading annotations of any kind, and telling the kind of a file."""

import csv
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cellvit.data import npy
from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.arrays import read_cellpose, read_cellvit, read_conic, read_pannuke
from cellvit.data.annotations.coco import read_coco
from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.imagej import read_imagej
from cellvit.data.annotations.imagescope import read_imagescope
from cellvit.data.annotations.label_map import read_label_map
from cellvit.data.annotations.masks import mask_files, read_masks
from cellvit.data.annotations.matlab import read_matlab
from cellvit.data.annotations.options import Kind, Options, Place
from cellvit.data.annotations.pixel_maps import has_colours
from cellvit.data.opening import check_file, described, readable
from cellvit.errors import ContractError, MissingInputError

_SIGHT_BYTES: Final = 1 << 20
"""Start of a text file, which has the words that tell its format."""

_CONIC_CHANNELS: Final = 2
_READERS: Final[Mapping[Kind, Callable[[Path, tuple[int, int], Options, Place], Annotation]]] = {
    "label-map": read_label_map,
    "masks": read_masks,
    "matlab": read_matlab,
    "geojson": read_geojson,
    "imagescope": read_imagescope,
    "coco": read_coco,
    "imagej": read_imagej,
    "cellpose": read_cellpose,
    "cellvit": read_cellvit,
    "pannuke": read_pannuke,
    "conic": read_conic,
}
_DEFAULTS: Final = Options()
_WHOLE_FILE: Final = Place()


def read_annotation(
    path: Path, shape: tuple[int, int], kind: Kind, options: Options = _DEFAULTS, place: Place = _WHOLE_FILE
) -> Annotation:
    """Nuclei of one image.

    Args:
        path: File of annotations, or folder of masks.
        shape: Height and width of the image in pixels.
        kind: Format of the file.
        options: What the file cannot say of itself.
        place: Position of the image in a file that has many.

    Raises:
        MissingInputError: The file, or one that belongs to it, does not exist.
        ContractError: It is damaged, of another format, or does not fit the image.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: the annotation does not exist. Fix: correct its name.")
    return _READERS[kind](path, shape, options, place)


def kind_of(path: Path) -> Kind:
    """Format of an annotation, by suffix and content.

    Raises:
        MissingInputError: The file or folder does not exist.
        ContractError: The format is none that can be read.
    """
    if path.is_dir():
        return _kind_of_folder(path)
    check_file(path, "an annotation")
    match Path(path.name.lower().removesuffix(".gz")).suffix:
        case ".png" | ".tif" | ".tiff":
            if has_colours(path):
                raise _unknown(path, "it is a colour picture, as the image itself or a picture of the nuclei")
            return "label-map"
        case ".npy":
            return _kind_of_array(path)
        case ".mat":
            return "matlab"
        case ".geojson":
            return "geojson"
        case ".json":
            return _kind_of_json(path)
        case ".xml":
            return _kind_of_xml(path)
        case ".roi" | ".zip":
            return "imagej"
        case ".csv" | ".tsv" | ".txt":
            raise _of_table(path)
    raise _unknown(path, "the suffix is that of no format")


def _kind_of_folder(path: Path) -> Kind:
    if any(file.suffix.lower() == ".roi" for file in path.iterdir()):
        raise _unknown(path, "it is a folder of ImageJ's ROIs; pack them into one .zip, as the ROI Manager saves them")
    first = mask_files(path)[0]
    if has_colours(first):
        raise _unknown(path, f"it is a folder with colour pictures ({first.name}) and not with masks")
    return "masks"


def _kind_of_array(path: Path) -> Kind:
    if npy.is_pickled(path):
        names = npy.read_pickled_dictionary(path).keys()
        if "inst_map" in names:
            return "cellvit"
        if "masks" in names:
            return "cellpose"
        raise _unknown(path, f"its dictionary has {', '.join(names) or 'no entry'}, neither masks nor inst_map")
    array = npy.open_array(path)
    if array.ndim == 2:
        return "label-map"
    if array.ndim == 4 and array.shape[3] == _CONIC_CHANNELS and array.dtype.kind in "iu":
        return "conic"
    if array.ndim == 4 and array.shape[3] > 3:
        return "pannuke"
    raise _unknown(path, f"it is an array of the shape {array.shape}")


def _kind_of_json(path: Path) -> Kind:
    """GeoJSON by the words that each of its objects has, else COCO by those of its lists."""
    start = _start(path)
    if b'"Feature"' in start or b'"FeatureCollection"' in start:
        return "geojson"
    if any(word in start for word in (b'"annotations"', b'"images"', b'"segmentation"', b'"masks"')):
        return "coco"
    raise _unknown(path, "it has neither the features of GeoJSON nor the annotations of COCO")


def _kind_of_xml(path: Path) -> Kind:
    start = _start(path)
    if b"<ASAP_Annotations" in start:
        raise _unknown(path, "it is XML of ASAP; open it in QuPath and export it as GeoJSON")
    if b"<Annotations" in start:
        return "imagescope"
    raise _unknown(path, "it is not an XML file of ImageScope")


def _start(path: Path) -> bytes:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with readable(path, "an annotation"), opened(path, "rb") as file:
        return bytes(file.read(_SIGHT_BYTES))


def _of_table(path: Path) -> ContractError:
    """The error for a table: points have no outlines, and a table of classes belongs to a label map."""
    with readable(path, "a table"), path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and all(len(row) >= 2 and _is_number(row[0]) and _is_number(row[1]) for row in rows):
        return _unknown(path, f"it has {len(rows)} points, and points have no outline, which the training needs")
    return _unknown(path, "it is a table; if it has the classes of a label map, name it in class_file")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown(path: Path, why: str) -> ContractError:
    size = "" if path.is_dir() else f" {described(path)}"
    return ContractError(
        f"{path}: expected annotations in a format of docs/annotations.md, but {why}.{size} Fix: export the nuclei as GeoJSON from QuPath, "
        "or as a label map (PNG or TIFF with one id for each nucleus)."
    )
