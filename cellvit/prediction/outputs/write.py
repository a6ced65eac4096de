"""All files of the prediction of one image, in two passes over its nuclei; run.json, with their digests, is the last."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cellvit.data.slides.area import write_area
from cellvit.formats.atomic import replacing
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.nuclei import NucleiTable
from cellvit.formats.page import write_page
from cellvit.formats.prediction import ANNDATA, AREA, COUNTS, NUCLEI, OVERLAY, PAGE, RUN, TABLE, SlideRun
from cellvit.prediction.outlines import polygons
from cellvit.prediction.outputs.counts import write_counts
from cellvit.prediction.outputs.density import Density, cell_text, density_map, density_of
from cellvit.prediction.outputs.details import DetailPictures, Details
from cellvit.prediction.outputs.geojson import geojson_writer
from cellvit.prediction.outputs.measured import measured
from cellvit.prediction.outputs.overlay import Overlay, Picture
from cellvit.prediction.outputs.shown import IMAGE_SIZE, jpeg, png
from cellvit.prediction.outputs.survey import Survey, survey_of
from cellvit.prediction.outputs.table import TableFormat, require_parquet, table_writer
from cellvit.prediction.result import PredictedImage
from cellvit.report.slide import ShownDensity, ShownDetail, SlidePictures, render_slide

log = logging.getLogger(__name__)

_PURPOSES: Mapping[str, str] = {
    NUCLEI: "nuclei as detections for QuPath: drag the file onto the open image",
    TABLE: "one row for each nucleus: position, class, probabilities, measurements",
    COUNTS: "counts by class with intervals",
    OVERLAY: "the image with its nuclei, legend and scale bar",
    "density.png": "map of nuclei per mm²; density_CLASS.png: of each class",
    AREA: "the analysed area; QuPath opens it, and --regions reads it back after you have changed it",
    RUN: "models, settings, versions, times, and digests of all files",
}


def write_outputs(
    folder: Path, image: PredictedImage, *, table: TableFormat = "csv", compress: bool = False
) -> SlideRun:
    """Write everything; the run as it was written, with the digests of the files.

    A folder without run.json is unfinished: an earlier one is removed first, and it is written last.

    Args:
        folder: Output folder of this image.
        table: Format of the table of nuclei.
        compress: Write nuclei.geojson.gz in place of nuclei.geojson.

    Raises:
        OSError: A file cannot be written, as on a full disk.
        MissingInputError: pyarrow is needed and is not installed.
        ContractError: The image is damaged where a detail is shown.
    """
    if table == "parquet":
        require_parquet()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).unlink(missing_ok=True)
    survey = survey_of(image.nuclei(), mpp=image.model_mpp)
    _check_counts(survey, image)
    density = density_of(survey, image)
    overlay, details = Overlay(image), Details(image, density)
    nuclei, rows = folder / (f"{NUCLEI}.gz" if compress else NUCLEI), (folder / TABLE).with_suffix(f".{table}")
    with ExitStack() as stack:
        features = stack.enter_context(geojson_writer(nuclei, image.run))
        lines = stack.enter_context(table_writer(rows, image.run))
        for part, shapes, nearest_um in _parts(image, survey):
            written = measured(part, nearest_um, image)
            features.write(written, shapes)
            lines.write(written)
            overlay.add(shapes, written[["x_px", "y_px"]].to_numpy(), part.nucleus_class)
            details.add(shapes, part.nucleus_class)
    written_files = [nuclei, rows, *_write_summaries(folder, image, density, overlay.picture(), details)]
    _remove_others(folder, written_files)
    run = image.run.model_copy(update={"files": {path.name: sha256_of(path) for path in written_files}})
    with replacing(folder / RUN) as temporary:
        write_document(temporary, run)
    log.info("written image=%s nuclei=%d folder=%s", run.image.name, len(survey), folder)
    return run


def density_name(image: PredictedImage, number: int | None) -> str:
    """File of the density map of a class by its number, or of all nuclei; no class can have the key of all."""
    return "density.png" if number is None else f"density_{image.data_set.class_keys[number - 1]}.png"


def _check_counts(survey: Survey, image: PredictedImage) -> None:
    """The counts of the run and the nuclei that are written must be the same."""
    counted = tuple(count.n for count in image.run.counts)
    found = (len(survey), *survey.n_by_class(image.data_set.n_classes))
    assert counted == found, f"the run counts {counted} nuclei, and {found} are written"
    assert image.run.n_nuclei == len(survey), f"the run has {image.run.n_nuclei} nuclei, and {len(survey)} are written"


def _parts(image: PredictedImage, survey: Survey) -> Iterator[tuple[NucleiTable, np.ndarray, np.ndarray]]:
    """The second pass: the nuclei of each chunk, their polygons in px of level 0, and the nearest other nucleus."""
    first = 0
    for table in image.nuclei():
        nearest_um = survey.nearest_um[first : first + len(table)]
        first += len(table)
        yield table, polygons(table, scale=image.run.image.scale), nearest_um
    assert first == len(survey), f"{len(survey)} nuclei in the first pass, {first} in the second"


def _write_summaries(
    folder: Path, image: PredictedImage, density: Density, picture: Picture, details: Details
) -> list[Path]:
    """Write counts, area, pictures and the page; their paths."""
    write_counts(folder / COUNTS, image.run)
    with replacing(folder / AREA) as temporary:
        write_area(temporary, image.area)
    _write_png(folder / OVERLAY, picture.sheet, size=(picture.width, picture.height))
    maps = {number: density_map(density, image, number) for number in (None, *range(1, image.data_set.n_classes + 1))}
    for number, one in maps.items():
        _write_png(folder / density_name(image, number), one.sheet)
    names = {None: "All nuclei"} | dict(enumerate(image.data_set.class_names))
    shown = SlidePictures(
        plain=jpeg(Image.fromarray(image.view.pixels)),
        overlay=jpeg(picture.image),
        width_um=image.view.size[0] * image.run.image.mpp,
        densities=[ShownDensity(names[number], png(one.map), one.high) for number, one in maps.items()]
        if density.is_a_map
        else [],
        cells=cell_text(density),
        details=[_shown(detail) for detail in details.pictures()],
    )
    page = render_slide(image.run, shown, _purposes(folder))
    with replacing(folder / PAGE) as temporary:
        write_page(temporary, page, image.run.provenance)
    pictures = (folder / density_name(image, number) for number in maps)
    return [folder / COUNTS, folder / AREA, folder / OVERLAY, *pictures, folder / PAGE]


def _purposes(folder: Path) -> dict[str, str]:
    """What each file is for, by the name that it has here."""
    found = {}
    for name, purpose in _PURPOSES.items():
        others = (name, f"{name}.gz", str(Path(name).with_suffix(".parquet")))
        found[next((other for other in others if (folder / other).exists()), name)] = purpose
    return found


def _shown(detail: DetailPictures) -> ShownDetail:
    plain, outlined = (jpeg(Image.fromarray(pixels)) for pixels in (detail.plain, detail.outlined))
    return ShownDetail(detail.title, plain, outlined, detail.caption)


def _write_png(path: Path, sheet: Image.Image, *, size: tuple[int, int] | None = None) -> None:
    """Write a picture; the size of the image at its top left, without the legend, is in its text."""
    described = PngInfo()
    if size is not None:
        described.add_text(IMAGE_SIZE, f"{size[0]} {size[1]}")
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG", pnginfo=described)


def _remove_others(folder: Path, written: list[Path]) -> None:
    """Remove what an earlier prediction with other settings or models left beside these files."""
    tables = [(folder / TABLE).with_suffix(suffix) for suffix in (".csv", ".parquet")]
    exported = folder / ANNDATA  # of the earlier nuclei
    candidates = [folder / NUCLEI, folder / f"{NUCLEI}.gz", exported, *tables, *folder.glob("density*.png")]
    for path in set(candidates) - set(written):
        path.unlink(missing_ok=True)
