"""The predictions of all images of a folder, as a page (index.html) and as a table (index.csv)."""

import csv
import io
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cellvit.errors import CellvitError
from cellvit.formats.atomic import replacing
from cellvit.formats.cells import safe_cell
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.page import write_page
from cellvit.formats.prediction import OVERLAY, RUN, ClassCount, SlideRun
from cellvit.formats.provenance import Provenance
from cellvit.prediction.outputs.measured import licence_word
from cellvit.prediction.outputs.shown import without_legend
from cellvit.report.cohort import IndexedImage, class_names, render_cohort

log = logging.getLogger(__name__)

PAGE: Final = "index.html"
TABLE: Final = "index.csv"

_THUMBNAIL_PX: Final = 160
"""Longest side of a thumbnail: about 6 KB, so that a page of a thousand images has 10 MB."""


def write_index(folder: Path) -> None:
    """Write index.html and index.csv for the images whose folders lie in this folder.

    A folder without a finished prediction is named on the page; one that has nothing of a prediction is left out.

    Raises:
        OSError: A file cannot be written.
    """
    images, unfinished = _images(folder)
    for line in unfinished:
        log.warning("not in the index folder=%s", line)
    with replacing(folder / TABLE) as temporary:
        temporary.write_text(_table(images), encoding="utf-8")
    with replacing(folder / PAGE) as temporary:
        write_page(temporary, render_cohort(images, unfinished), _provenance(folder, images))


def _images(folder: Path) -> tuple[list[IndexedImage], list[str]]:
    images, unfinished = [], []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if not (inner / RUN).exists():
            if any(inner.iterdir()):
                unfinished.append(f"{inner.name}: not finished")
            continue
        try:
            run = read_document(inner / RUN, SlideRun)
        except CellvitError as error:
            unfinished.append(f"{inner.name}: {str(error).splitlines()[0]}")
            continue
        images.append(IndexedImage(inner.name, run, without_legend(inner / OVERLAY, _THUMBNAIL_PX)))
    return images, unfinished


def _table(images: Sequence[IndexedImage]) -> str:
    keys = {name: key for image in images for name, key in _keys(image.run)}
    names = class_names(images)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    of_classes = [f"{column}_{keys[name]}" for name in names for column in ("n", "low", "high", "per_mm2")]
    writer.writerow((*_FACTS, "n", "low", "high", "per_mm2", *of_classes, "warnings", "licence"))
    for image in images:
        writer.writerow(_cells(image, names))
    return text.getvalue()


_FACTS: Final = ("folder", "image", "organ", "organ_chosen_by", "mpp", "area_mm2", "n_tiles", "n_judged", "n_unlike")


def _cells(image: IndexedImage, names: Sequence[str]) -> list[str]:
    run = image.run
    facts = (run.organ.organ, run.organ.chosen_by, run.image.mpp, run.area_mm2, run.n_tiles, run.n_judged, run.n_unlike)
    count_of = {count.class_name: count for count in run.counts[1:]}
    counts = [run.counts[0], *(count_of.get(name) for name in names)]
    texts = (" ".join(run.warnings), run.licence or licence_word(run.commercial_use))
    numbers = [cell for count in counts for cell in _numbers(count)]
    return [safe_cell(str(cell)) for cell in (image.folder, run.image.name, *facts, *numbers, *texts)]


def _numbers(count: ClassCount | None) -> Iterator[str]:
    """Cells of a count; empty where the models do not know the class."""
    values = (count.n, count.low, count.high, count.per_mm2) if count else (math.nan,) * 4
    yield from ("" if math.isnan(value) else repr(round(value, 3)) for value in values)


def _keys(run: SlideRun) -> Iterator[tuple[str, str]]:
    return zip(run.dataset.class_names[1:], run.dataset.class_keys, strict=True)


def _provenance(folder: Path, images: Sequence[IndexedImage]) -> Provenance:
    """Digests of the runs; the marks of any of them hold for the page."""
    origins = [image.run.provenance for image in images]
    return Provenance(
        made_from={f"{image.folder}/{RUN}": sha256_of(folder / image.folder / RUN) for image in images},
        simulated=any(origin.simulated for origin in origins),
        encoder_mark="; ".join(dict.fromkeys(origin.encoder_mark for origin in origins if origin.encoder_mark)),
    )
