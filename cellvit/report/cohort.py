"""The predictions of all images of a folder -> one HTML page that opens offline, with a row for each image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cellvit.formats.prediction import SlideRun
from cellvit.report.slide import Shown, area_text, density_text
from cellvit.report.templates import rendered
from cellvit.report.wording import share_of_pixels


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """An image of the page.

    Attributes:
        folder: Name of its folder, beside the page.
        thumbnail: None if its picture cannot be read.
    """

    folder: str
    run: SlideRun
    thumbnail: Shown | None


@dataclass(frozen=True, slots=True)
class Density:
    """Nuclei per mm2 of a class in an image, and how it compares with the highest value of all images, 0..1."""

    text: str
    share: float


@dataclass(frozen=True, slots=True)
class _Row:
    image: IndexedImage
    organ: str
    area: str
    unlike: str
    densities: tuple[Density, ...]


def render_cohort(images: Sequence[IndexedImage], unfinished: Sequence[str]) -> str:
    """The page; the same runs and pictures give the same bytes.

    Args:
        unfinished: Names of folders without a finished prediction, with the reason.
    """
    names = class_names(images)
    columns = [_densities(images, name) for name in (None, *names)]
    rows = [
        _Row(image, _organ(image.run), area_text(image.run.area_mm2), _unlike(image.run), tuple(densities))
        for image, densities in zip(images, zip(*columns, strict=True), strict=True)
    ]
    runs = [image.run for image in images]
    return rendered(
        "cohort.html.j2",
        rows=rows,
        classes=names,
        colors={entry.name: entry.color for run in runs for entry in run.dataset.classes},
        n_nuclei=sum(run.n_nuclei for run in runs),
        area=area_text(sum(run.area_mm2 for run in runs)),
        warned=[image for image in images if image.run.warnings],
        notices=list(dict.fromkeys(notice for run in runs for notice in run.notices)),
        mixed=len({tuple(sorted(run.models.values())) for run in runs}) > 1,
        unfinished=unfinished,
    )


def class_names(images: Sequence[IndexedImage]) -> tuple[str, ...]:
    """Classes of all images in order; those of models with other classes follow."""
    return tuple(dict.fromkeys(name for image in images for name in image.run.dataset.class_names[1:]))


def per_mm2(run: SlideRun, name: str | None) -> float:
    """Density of a class, or of all nuclei (None); NaN if the models do not know the class or nothing was analysed."""
    counts = run.counts[:1] if name is None else [count for count in run.counts[1:] if count.class_name == name]
    return counts[0].per_mm2 if counts else math.nan


def _densities(images: Sequence[IndexedImage], name: str | None) -> list[Density]:
    values = [per_mm2(image.run, name) for image in images]
    highest = max((value for value in values if not math.isnan(value)), default=0.0)
    return [Density(density_text(value), value / highest if highest > 0 and value > 0 else 0.0) for value in values]


def _organ(run: SlideRun) -> str:
    organ = run.organ
    return f"{organ.organ} ({organ.chosen_by})" if organ.organ and organ.chosen_by != "none" else ""


def _unlike(run: SlideRun) -> str:
    return share_of_pixels(run.n_unlike / run.n_judged) if run.n_judged else "–"
