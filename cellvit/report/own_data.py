"""A user's data set -> one HTML page that opens offline: a look at the annotations before anything trains."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cellvit.data.findings import Finding
from cellvit.data.overview import ImageOverview
from cellvit.data.own_data import OwnData
from cellvit.data.own_rules import meaning_of
from cellvit.evaluation.scale_bar import ScaleBar, scale_bar
from cellvit.formats.own_description import OwnDescription
from cellvit.report.cells import Cell, Row, Table, count_cell, number_cell, text_table
from cellvit.report.own_pictures import Pictures
from cellvit.report.templates import rendered

_ROWS: Final = 40
"""Rows of a table by patient or image; the page says how many more there are."""

_WORST: Final = 3
_UNKNOWN: Final = "(not known)"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """An image that the page shows; the scale bar is in pixels of the image."""

    anchor: str
    image: ImageOverview
    pictures: Pictures
    caption: str
    bar: ScaleBar


def render_own_data(
    own: OwnData,
    images: Sequence[ImageOverview],
    findings: Sequence[Finding],
    shown: Sequence[tuple[ImageOverview, Pictures]],
) -> str:
    """The page; the same data give the same bytes.

    Args:
        images: All images, those that a person should look at first in front.
        findings: What the checks found in the data set as a whole.
        shown: Images with pictures, in this order.
    """
    exhibits = [
        Exhibit(
            f"image{number}",
            image,
            pictures,
            _caption(own.description, image),
            scale_bar(image.mpp, image.size_px[0]),
        )
        for number, (image, pictures) in enumerate(shown)
    ]
    readable = [image for image in images if not image.error]
    return rendered(
        "own_data.html.j2",
        name=own.description.name,
        facts=_facts(own, images),
        findings=findings,
        errors=[image for image in images if image.error],
        suspicious=[image for image in images if image.reasons and not image.error],
        anchors={exhibit.image.name: exhibit.anchor for exhibit in exhibits},
        limit=_ROWS,
        classes=own.description.classes,
        any_not_annotated=any(image.not_annotated for image in readable),
        class_table=_class_table(own.description, readable),
        group_tables=[*_group_tables(own, readable)],
        size_tables=[_size_table(readable), _resolution_table(readable)],
        changes=_change_table(readable),
        exhibits=exhibits,
        n_images=len(images),
    )


def _facts(own: OwnData, images: Sequence[ImageOverview]) -> Table:
    described, n_faults = own.description, sum(bool(image.error) for image in images)
    use = {True: "commercial use allowed", False: "no commercial use", None: "commercial use not known"}
    patients = {image.row.patient for image in images} - {""}
    facts = {
        "Images": f"{len(images):,}" + (f", {n_faults} of them cannot be read" if n_faults else ""),
        "Nuclei": f"{sum(image.n_nuclei for image in images):,}",
        "Patients": f"{len(patients):,}" if patients else "not known: all images count as independent",
        "Organs": ", ".join(own.organs) or "not known: there is then one decoder for all, and no OrganHead",
        "Folds": f"{len(own.folds)}, from tiles.csv" if own.folds else "not given: the run makes them",
        "Nuclei without a class": _fallback(described.unlabelled),
        "Nuclei of other classes": _fallback(described.unknown),
        "Licence": f"{described.licence or 'not stated'} ({use[described.commercial_use]})",
    }
    return text_table("Data set", ("Property", "Value"), facts)


def _fallback(value: str) -> str:
    meanings = {"error": "refused", "not annotated": "their pixels count nowhere"}
    return meanings.get(value, f"become {value}")


def _class_table(described: OwnDescription, images: Sequence[ImageOverview]) -> Table:
    nuclei = [image.nuclei for image in images if image.nuclei is not None]
    diameters = np.concatenate([np.zeros(0), *(one.diameter_um for one in nuclei)])
    numbers = np.concatenate([np.zeros(0, np.uint8), *(one.classes for one in nuclei)])
    written = sum((Counter(image.written) for image in images), Counter[str]())
    rows = []
    for number, entry in enumerate(described.classes, 1):
        own = diameters[numbers == number]
        names = ", ".join(f"{name} ({written[name]:,})" for name in entry.written if written[name])
        cells = (
            count_cell(len(own)),
            number_cell(f"{len(own) / max(len(diameters), 1):.1%}"),
            count_cell(sum(image.n_by_class[number - 1] > 0 for image in images)),
            number_cell(_range_of(own)),
            Cell(names or "–", kind="prose"),
        )
        rows.append(Row(entry.name, cells))
    columns = (
        "Nuclei",
        "Share",
        "Images with it",
        "Diameter in um: median (5 % to 95 %)",
        "As the annotations write it",
    )
    other = {name or "(no class)": n for name, n in written.items() if name not in described.class_numbers}
    note = "Names that no class lists: " + ", ".join(f"{name} ({n:,})" for name, n in other.items()) if other else ""
    return Table("Nuclei by class", "Class", columns, tuple(rows), note=note)


def _range_of(values: np.ndarray) -> str:
    if not len(values):
        return "–"
    low, median, high = np.percentile(values, (5, 50, 95))
    return f"{median:.1f} ({low:.1f} to {high:.1f})"


def _group_tables(own: OwnData, images: Sequence[ImageOverview]) -> list[Table]:
    """Counts by organ, patient, source and fold, where they are known."""
    keys: dict[str, Callable[[ImageOverview], str]] = {
        "organ": lambda image: image.row.organ,
        "patient": lambda image: image.row.patient,
        "source": lambda image: image.row.source,
        "fold": lambda image: "" if image.row.fold is None else str(image.row.fold),
    }
    return [_group_table(own, images, name, key) for name, key in keys.items() if any(key(image) for image in images)]


def _group_table(
    own: OwnData, images: Sequence[ImageOverview], name: str, key: Callable[[ImageOverview], str]
) -> Table:
    groups: dict[str, list[ImageOverview]] = {}
    for image in images:
        groups.setdefault(key(image), []).append(image)
    classes = tuple(entry.name for entry in own.description.classes)
    rows = []
    for group, some in sorted(groups.items(), key=lambda entry: (-sum(one.n_nuclei for one in entry[1]), entry[0])):
        by_class = np.sum([image.n_by_class for image in some], axis=0).tolist()
        patients = () if name == "patient" else (count_cell(len({one.row.patient for one in some} - {""})),)
        counts = (len(some), sum(by_class), *by_class)
        rows.append(Row(group or _UNKNOWN, (*patients, *map(count_cell, counts))))
    columns = (*(() if name == "patient" else ("Patients",)), "Images", "Nuclei", *classes)
    more = f"{len(rows) - _ROWS} more with fewer nuclei are not shown." if len(rows) > _ROWS else ""
    return Table(f"Nuclei by {name}", name.capitalize(), columns, tuple(rows[:_ROWS]), note=more)


def _size_table(images: Sequence[ImageOverview]) -> Table:
    return _counted("Image sizes", "Width x height in px", (f"{one.size_px[0]} x {one.size_px[1]}" for one in images))


def _resolution_table(images: Sequence[ImageOverview]) -> Table:
    return _counted("Resolutions", "Micrometres per pixel", (f"{one.mpp:.4g} ({one.mpp_source})" for one in images))


def _counted(caption: str, corner: str, values: Iterable[str]) -> Table:
    counts = Counter(values).most_common(_ROWS)
    return Table(caption, corner, ("Images",), tuple(Row(value, (count_cell(n),)) for value, n in counts), kind="")


def _change_table(images: Sequence[ImageOverview]) -> Table:
    """Every rule that dropped or changed something, how often, and in which files most often."""
    by_rule: dict[str, list[tuple[int, str]]] = {}
    for image in images:
        for rule, n in image.counts.items():
            by_rule.setdefault(rule, []).append((n, image.row.annotation))
    rows = []
    for rule, entries in sorted(by_rule.items(), key=lambda entry: -sum(n for n, _ in entry[1])):
        worst = sorted(entries, key=lambda entry: (-entry[0], entry[1]))[:_WORST]
        files = ", ".join(f"{file} ({n:,})" for n, file in worst)
        cells = (count_cell(sum(n for n, _ in entries)), count_cell(len(entries)), Cell(files, kind="prose"))
        rows.append(Row(meaning_of(rule), cells))
    columns = ("Number", "Images", "Most in")
    return Table("Dropped or changed while reading", "What", columns, tuple(rows), kind="results changes")


def _caption(described: OwnDescription, image: ImageOverview) -> str:
    names = (entry.name for entry in described.classes)
    counts = [f"{n} {name}" for name, n in zip(names, image.n_by_class, strict=True) if n]
    facts: Mapping[str, str] = {
        "nuclei": ", ".join(counts) or "no nucleus",
        "size": f"{image.size_px[0]} x {image.size_px[1]} px at {image.mpp:.3g} um per pixel",
        "origin": ", ".join(filter(None, (image.row.organ, image.row.patient and f"patient {image.row.patient}"))),
        "fold": f"fold {image.row.fold}" if image.row.fold is not None else "",
        "dimmed": f"{image.not_annotated:.0%} not annotated (dimmed)" if image.not_annotated else "",
    }
    return " · ".join(filter(None, facts.values()))
