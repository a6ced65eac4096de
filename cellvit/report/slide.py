"""The prediction of one image -> one HTML page that opens offline: what was found, and how far it can be trusted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellvit.evaluation.images import NP_COLOURS, colour_bar_png
from cellvit.formats.dataset import DataSet
from cellvit.formats.prediction import ClassCount, SlideRun
from cellvit.report.cells import Cell, Row, Table, count_cell, number_cell, text_table
from cellvit.report.templates import rendered
from cellvit.report.wording import counted, duration, share_of_pixels

_SAME: Final = 1e-3
"""Relative difference of resolutions below which the page does not speak of resampling."""

_DIGEST: Final = 16
"""Digits of a digest that are shown: enough to tell models apart."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a data URI with its size in px."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ShownDensity:
    """The map of a class, or of all nuclei; `high` is the density of its highest cell per mm2, 0 without nuclei."""

    name: str
    map: Shown
    high: float


@dataclass(frozen=True, slots=True)
class ShownDetail:
    """A part of the image without and with outlines."""

    title: str
    plain: Shown
    outlined: Shown
    caption: str


@dataclass(frozen=True, slots=True)
class SlidePictures:
    """The pictures of the page.

    Attributes:
        plain, overlay: The image, or the part of it around a small analysed area, without and with its nuclei.
        width_um: Width of both.
        densities: Maps of all nuclei and of each class; `cells` is the size of their cells as a sentence.
        details: Parts at full resolution.
    """

    plain: Shown
    overlay: Shown
    width_um: float
    densities: Sequence[ShownDensity]
    cells: str
    details: Sequence[ShownDetail]


def render_slide(run: SlideRun, pictures: SlidePictures, files: Mapping[str, str]) -> str:
    """The page; the same run and pictures give the same bytes.

    Args:
        files: What each file beside the page is for, by its name.
    """
    return rendered(
        "slide.html.j2",
        run=run,
        pictures=pictures,
        files=files,
        classes=list(zip(run.dataset.classes, run.counts[1:], strict=True)),
        width=length_text(pictures.width_um),
        maps=[one for place, one in enumerate(pictures.densities) if one.high or not place],
        without=[one.name for one in pictures.densities[1:] if not one.high],
        density_text=density_text,
        colour_bar=colour_bar_png(NP_COLOURS),
        verdict=_verdict(run),
        counts=counts_table(run),
        interval_text=_interval_text(run),
        resolution=resolution_text(run),
        organ_text=_organ_text(run),
        votes=_votes_table(run),
        unlike=unlike_text(run),
        tables=[_facts(run), _models_table(run), _settings_table(run), _versions_table(run)],
    )


def area_text(mm2: float) -> str:
    """An area in square millimetres, or in square micrometres where it is tiny.

    Examples:
        >>> area_text(12.345), area_text(0.004096), area_text(0.0)
        ('12.3 mm²', '4,096 µm²', '0 mm²')
    """
    if 0 < mm2 < 0.01:
        return f"{mm2 * 1e6:,.0f} µm²"
    return f"{mm2:,.3g} mm²" if mm2 < 1000 else f"{mm2:,.0f} mm²"


def length_text(um: float) -> str:
    """A length in um or mm.

    Examples:
        >>> length_text(512.2), length_text(20123.0)
        ('512 µm', '20.1 mm')
    """
    return f"{um / 1000:.3g} mm" if um >= 1000 else f"{um:.3g} µm"


def density_text(per_mm2: float) -> str:
    """Nuclei per square millimetre; a dash where it is not known.

    Examples:
        >>> density_text(12492.7), density_text(1.26), density_text(math.nan)
        ('12,493', '1.3', '–')
    """
    if math.isnan(per_mm2):
        return "–"
    return f"{per_mm2:,.0f}" if per_mm2 >= 100 else f"{per_mm2:.1f}"


def counts_table(run: SlideRun) -> Table:
    """Counts with intervals, by class."""
    interval = f"{run.count_level:.0%} interval"
    has_interval = any(not math.isnan(count.low) for count in run.counts)
    rows = tuple(
        _count_row(count, run, "All nuclei" if not place else "", has_interval)
        for place, count in enumerate(run.counts)
    )
    columns = (
        "Nuclei",
        "Share",
        *((interval,) if has_interval else ()),
        "Per mm²",
        *((f"{interval}, per mm²",) if has_interval else ()),
    )
    return Table("Nuclei by class", "Class", columns, rows)


def resolution_text(run: SlideRun) -> str:
    """What the image was resampled by, as sentences."""
    image, model_mpp = run.image, run.image.mpp * run.image.scale
    known = f"The image has {image.mpp:.4g} µm per pixel ({image.mpp_source})."
    if abs(image.scale - 1) < _SAME:
        return f"{known} The models work at {run.dataset.mpp:.4g} µm per pixel; the image was not resampled."
    if image.scale > 1:
        return f"{known} It was reduced to the {model_mpp:.4g} µm per pixel of the models."
    return (
        f"{known} It was enlarged to the {model_mpp:.4g} µm per pixel of the models, which adds no detail: outlines and classes are less "
        "reliable than on an image that was scanned at this resolution."
    )


def unlike_text(run: SlideRun) -> str:
    """How many tiles are unlike the training data, as a sentence; empty if none was judged."""
    if not run.n_judged:
        return "The models have no measure of how much an image is unlike their training data."
    share = share_of_pixels(run.n_unlike / run.n_judged)
    return (
        f"{run.n_unlike:,} of {counted(run.n_judged, 'tile')} ({share}) are unlike the training data: their features are farther from those of the "
        "training tiles than 99% of the validation tiles. Nuclei in them are marked in the column unlike_training, and the tiles are "
        "striped in the overlay."
    )


def _verdict(run: SlideRun) -> list[str]:
    if not run.n_nuclei:
        return [f"No nuclei were found in {area_text(run.area_mm2)} of analysed area."]
    density = run.n_nuclei / run.area_mm2 if run.area_mm2 else math.nan
    nuclei = "1 nucleus" if run.n_nuclei == 1 else f"{run.n_nuclei:,} nuclei"
    found = f"{nuclei} in {area_text(run.area_mm2)}: {density_text(density)} per mm²."
    of_classes = sorted(run.counts[1:], key=lambda count: -count.n)
    shares = ", ".join(f"{count.class_name} {count.n / run.n_nuclei:.0%}" for count in of_classes if count.n)
    return [found, f"By class: {shares}."]


def _count_row(count: ClassCount, run: SlideRun, heading: str, has_interval: bool) -> Row:
    share = number_cell(share_of_pixels(count.n / run.n_nuclei) if run.n_nuclei else "–")
    interval, densities = _interval_cells(count, run.area_mm2)
    density = number_cell(density_text(count.per_mm2))
    cells = (
        count_cell(count.n),
        share,
        *((interval,) if has_interval else ()),
        density,
        *((densities,) if has_interval else ()),
    )
    return Row(heading or count.class_name, cells)


def _interval_cells(count: ClassCount, mm2: float) -> tuple[Cell, Cell]:
    if math.isnan(count.low):
        none = Cell("no interval", kind="undefined", hint="too few validation units for the stated coverage")
        return none, none
    low, high = math.floor(count.low), math.ceil(count.high)
    densities = f"{density_text(count.low / mm2)} to {density_text(count.high / mm2)}" if mm2 else "–"
    return number_cell(f"{low:,} to {high:,}"), number_cell(densities)


def _interval_text(run: SlideRun) -> str:
    if run.count_unit == "none":
        return "The models have no intervals for counts: their validation data are too few, or the bundle has no calibration."
    units = {"patient": "patients", "tile": "tiles"}[run.count_unit]
    text = (
        f"The intervals come from the errors of the counts of validation {units} (split conformal prediction): for new {units} like those of the "
        f"training data, at least {run.count_level:.0%} of such intervals contain the count of a person who annotates. They do not hold for "
        "tissue, stains or scanners that the models have not seen."
    )
    if run.count_unit == "tile":
        text += " The patients of the training data are not known. That the intervals hold for a whole image was therefore not tested."
    return text


def _organ_text(run: SlideRun) -> str:
    organ = run.organ
    decoder = f"Nuclei were decoded by the decoder {organ.decoder}."
    if organ.chosen_by == "given":
        return f"The organ was given: {organ.organ}. {decoder}"
    if organ.chosen_by == "none":
        return f"The organ was not needed. {decoder}"
    votes = (
        f"OrganHead predicted it from {counted(organ.n_tiles, 'tile')} of tissue; with --organ, you give it yourself."
    )
    return f"The organ is probably {organ.organ}. {votes} {decoder}"


def _votes_table(run: SlideRun) -> Table | None:
    if not run.organ.votes:
        return None
    votes = {organ: share_of_pixels(share) for organ, share in run.organ.votes.items()}
    rows = tuple(Row(organ, (number_cell(share),)) for organ, share in votes.items())
    return Table("Mean probability of organs, largest first", "Organ", ("Probability",), rows, kind="")


def _facts(run: SlideRun) -> Table:
    image = run.image
    facts = {
        "File": image.name,
        "Size": f"{image.width:,} x {image.height:,} px ({image.width * image.mpp / 1000:.3g} x {image.height * image.mpp / 1000:.3g} mm)",
        "Kind": image.kind,
        "Read as": " ".join(image.notes) or "stored; nothing was converted",
        "Analysed": f"{area_text(run.area_mm2)} ({run.area})",
        "Tiles": f"{run.n_tiles:,}",
    }
    return text_table("Image", ("Property", "Value"), facts)


def _models_table(run: SlideRun) -> Table:
    models = {name: f"sha256 {digest[:_DIGEST]}" for name, digest in run.models.items()}
    licence = {"Licence": run.licence or "not stated", "Commercial use": _commercial(run.commercial_use)}
    data: DataSet = run.dataset
    trained = {"Training data": data.name, "Classes": ", ".join(data.class_names[1:])}
    return text_table("Models", ("Property", "Value"), models | trained | licence)


def _commercial(allowed: bool | None) -> str:
    return {True: "allowed", False: "not allowed", None: "not known"}[allowed]


def _settings_table(run: SlideRun) -> Table:
    settings = {key: _in_words(value) for key, value in run.settings.items()}
    return text_table("Settings", ("Key", "Value"), settings or {"none": "–"}, kind="facts keys")


def _in_words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


def _versions_table(run: SlideRun) -> Table:
    seconds = {f"Time: {part}": duration(value) for part, value in run.seconds.items()}
    versions = {name: str(version) for name, version in run.versions.items()}
    facts = {"Computed on": run.computed_on, **seconds, "Software": run.provenance.software, **versions}
    return text_table("Computation", ("Property", "Value"), facts)
