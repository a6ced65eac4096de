"""Tables of what was checked or chosen outside the test tiles: folds, targets, upper bound, features, watershed."""

from collections.abc import Callable, Iterable, Sequence

from cellvit.data.own_rules import meaning_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.features import FeatureCheck
from cellvit.formats.own_check import OwnDataCheck
from cellvit.formats.tiles import FoldSummary, NotAnnotated, TargetCheck
from cellvit.formats.watershed import TriedPoint, WatershedChoice
from cellvit.report.cells import ABSENT, Cell, Row, Table, absent_row, count_cell, number, number_cell, value_cell
from cellvit.report.wording import counted, decoder_label, metric_of, not_annotated_text, share_of_pixels

_NOT_ANNOTATED = "Not annotated"

_INTERVALS = "intervals over patients where they are known, else over tiles"


_ANNOTATED_ONLY = " Pixels that are not annotated are in no share and in no value."


def fold_table(summaries: Sequence[FoldSummary]) -> Table:
    """Tiles and nuclei of each fold, and everything that was resolved or dropped on reading."""
    not_annotated: dict[str, Callable[[FoldSummary], Cell]] = (
        {_NOT_ANNOTATED: lambda summary: _not_annotated_cell(summary.not_annotated)} if _some(summaries) else {}
    )
    columns: dict[str, Callable[[FoldSummary], Cell]] = {
        "Tiles": lambda summary: count_cell(summary.n_tiles),
        "Patients": _patients_cell,
        "Nuclei": lambda summary: count_cell(sum(summary.nuclei_by_class.values())),
        "Nuclear pixels": lambda summary: number_cell(f"{summary.coverage:.1%}"),
        **not_annotated,
        "Tiles without nuclei": lambda summary: count_cell(len(summary.empty_tiles)),
        "Nuclei covered by others": lambda summary: count_cell(summary.nuclei_painted_over),
        "Pixels in several class channels": lambda summary: count_cell(summary.overlap_px),
        "Pixels where the background channel disagrees": lambda summary: count_cell(summary.background_mismatch_px),
    }
    rows = tuple(Row(f"fold {one.fold}", tuple(cell(one) for cell in columns.values())) for one in summaries)
    note = (
        "Where class channels overlap, the later channel decides, as in the official metric. A nucleus that later ones "
        "cover completely is in no map and in no value. Patients are those of patients.npy; intervals sample all tiles "
        "of a patient together."
    )
    note += _ANNOTATED_ONLY if not_annotated else ""
    return Table("Folds as read", "Fold", tuple(columns), rows, note)


def own_data_table(checks: Iterable[OwnDataCheck], data_set: DataSet) -> Table:
    """What was changed or left out while a user's data set was cut into tiles."""
    rows = tuple(
        Row(meaning_of(rule).capitalize(), (count_cell(count),))
        for check in checks
        for rule, count in check.changed.items()
    )
    sizes = ", ".join(f"{mpp:g}" for check in checks for mpp in check.mpp_of_images)
    n_images, n_resampled = (sum(getattr(check, name) for check in checks) for name in ("n_images", "n_resampled"))
    note = (
        f"{counted(n_images, 'image')} of {sizes} µm per pixel; {n_resampled} of them resampled to {data_set.mpp:g} µm per pixel. "
        "docs/annotations.md and docs/checks.md state the rules."
    )
    return Table("Images as read: what was changed or left out", "Rule", ("Number",), rows, note)


def class_count_table(summaries: Iterable[FoldSummary], data_set: DataSet) -> Table:
    """Nuclei of each class by fold."""
    names = data_set.class_names[1:]
    rows = tuple(
        Row(f"fold {summary.fold}", tuple(count_cell(summary.nuclei_by_class.get(name, 0)) for name in names))
        for summary in summaries
    )
    return Table("Nuclei by class", "Fold", names, rows)


def target_table(checks: Sequence[TargetCheck]) -> Table:
    """Tiles, targets and upper bound of each fold."""
    methods = dict.fromkeys(method for check in checks for method in check.upper_bound)
    bounds = [(method, name) for method in methods for name in ("aji", "pq")]
    rows = []
    for check in checks:
        counts = count_cell(check.n_tiles), count_cell(check.n_nuclei)
        shares = number_cell(f"{check.coverage:.1%}"), number_cell(number(check.hv_length))
        missing = (_not_annotated_cell(check.not_annotated),) if _some(checks) else ()
        reached = (value_cell(check.upper_bound.get(method, {}).get(name)) for method, name in bounds)
        rows.append(Row(f"fold {check.fold}", (*counts, *shares, *missing, *reached)))
    columns = ("Tiles", "Nuclei", "Nuclear pixels", "HV length", *((_NOT_ANNOTATED,) if _some(checks) else ()))
    note = (
        "The upper bound turns the ground truth into perfect maps, and these back into nuclei, with each watershed method "
        f"and its default parameters: about the best that a decoder can reach. Means over tiles; {_INTERVALS}."
    )
    note += _ANNOTATED_ONLY if _some(checks) else ""
    titles = (f"Upper bound {name.upper()}, {method}" for method, name in bounds)
    return Table("Targets and upper bound", "Fold", (*columns, *titles), tuple(rows), note)


def upper_bound_table(checks: Sequence[TargetCheck]) -> Table:
    """AJI of the upper bound by organ and fold."""
    organs = sorted({organ for check in checks for organ in check.upper_bound_aji_by_organ})
    values = {organ: tuple(check.upper_bound_aji_by_organ.get(organ) for check in checks) for organ in organs}
    rows = tuple(Row(organ.replace("_", " "), tuple(map(value_cell, found))) for organ, found in values.items())
    folds = tuple(f"fold {check.fold}" for check in checks)
    caption = "Upper bound by organ: AJI of the better method"
    return Table(caption, "Organ", folds, rows, f"Means over tiles; {_INTERVALS}.")


def feature_table(checks: Sequence[FeatureCheck]) -> Table:
    """What was checked of the features of each fold."""
    expected = {check.name: check.expected for document in checks for check in document.checks}
    rows = []
    for document in checks:
        found = {check.name: Cell(check.found, hint=f"expected: {check.expected}") for check in document.checks}
        cells = (found.get(name, ABSENT) for name in expected)
        rows.append(Row(document.fold_id, (count_cell(document.n_tiles), Cell(number(document.cls_std)), *cells)))
    caption = "Feature checks (a failed check stops the run)"
    note = "; ".join(f"{name}: expected {text}" for name, text in expected.items())
    return Table(caption, "Fold", ("Tiles", "CLS standard deviation", *expected), tuple(rows), note)


def watershed_table(choices: Sequence[WatershedChoice], data_set: DataSet) -> Table:
    """Chosen watershed method and parameters with the runner-up, and the classical baseline, by split and family."""
    names = tuple(dict.fromkeys(name for choice in choices for name in _searched(choice)))
    metrics = dict.fromkeys(metric_of(choice.select_by).label for choice in choices if choice.select_by)
    metric = " or ".join(metrics) or "Value"
    columns = ("Status", "Method", *names, f"{metric} on validation tiles", "Runner-up", f"Its {metric}")
    columns += (f"Classical baseline, {metric}",)
    rows: list[Row] = []
    for choice in choices:
        label = decoder_label(choice.split, choice.family)
        if choice.status == "absent":
            rows.append(absent_row(label, choice.reason, len(columns)))
            continue
        best, second = (*choice.tried[:2], None, None)[:2]
        classical = "; ".join(f"{name} {value:g}" for name, value in choice.classical.items())
        cells = (
            Cell(choice.status, hint=choice.reason),
            Cell(choice.method),
            *(number_cell(_parameter(choice.parameters.get(name))) for name in names),
            value_cell(best.value if best else None),
            _runner_up(best, second),
            value_cell(second.value if second else None),
            value_cell(choice.classical_value)._replace(hint=classical),
        )
        rows.append(Row(label, cells, note=choice.reason))
    note = (
        f"Probability thresholds in 0..1, sizes and gains in pixels of {data_set.mpp:g} µm. Parameters that are not searched have their "
        "defaults (hovernet: the published ones). The runner-up is described by its differences from the best. "
        f"The metric is that of watershed.select_by, over all validation tiles; {_INTERVALS}."
    )
    return Table("Watershed parameters, chosen on the validation folds", "Decoder", columns, tuple(rows), note)


def _searched(choice: WatershedChoice) -> tuple[str, ...]:
    """Parameters of the method that differ within the points that were tried; all of them where none does."""
    tried = [point.parameters for point in choice.tried if point.method == choice.method]
    varied = tuple(name for name in choice.parameters if len({point.get(name) for point in tried}) > 1)
    return (varied or tuple(choice.parameters)) if tried else ()


def _some(documents: Iterable[FoldSummary | TargetCheck]) -> bool:
    """True if some pixel is not annotated: most data sets have none, and need no column for it."""
    return any(document.not_annotated.share > 0 for document in documents)


def _not_annotated_cell(found: NotAnnotated) -> Cell:
    cell = number_cell(share_of_pixels(found.share))
    return cell._replace(
        n=f"{counted(found.n_partly, 'tile')} in part, {found.n_wholly:,} wholly", hint=not_annotated_text(found)
    )


def _patients_cell(summary: FoldSummary) -> Cell:
    if not summary.n_patients:
        return Cell("–", hint="no patients.npy: intervals are over tiles")
    n_without = summary.n_tiles_without_patient
    return number_cell(f"{summary.n_patients:,}" + (f" ({counted(n_without, 'tile')} unknown)" if n_without else ""))


def _runner_up(best: TriedPoint | None, second: TriedPoint | None) -> Cell:
    if best is None or second is None:
        return ABSENT
    changed = {name: value for name, value in second.parameters.items() if best.parameters.get(name) != value}
    method = (second.method,) if second.method != best.method else ()
    return Cell(", ".join((*method, *(f"{name} {_parameter(value)}" for name, value in changed.items()))))


def _parameter(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
