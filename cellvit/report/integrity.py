"""Tables of what held before anything was trained: folds, features, targets, oracle, watershed."""

from collections.abc import Iterable, Sequence

from cellvit.formats.features import FeatureCheck
from cellvit.formats.tiles import FoldSummary, TargetCheck
from cellvit.formats.watershed import GridPoint, WatershedChoice
from cellvit.report.cells import ABSENT, Cell, Row, Table, count_cell, figure_cell, number
from cellvit.report.results import absent_row
from cellvit.report.wording import family_label
from cellvit.taxonomy import CLASS_NAMES

_INTERVALS = "intervals over patients where the folds name them, else over tiles"


def fold_table(summaries: Iterable[FoldSummary]) -> Table:
    """Tiles and nuclei of each fold, and everything that was resolved or dropped on reading."""
    rows = tuple(
        Row(
            f"fold {summary.fold}",
            (
                count_cell(summary.n_tiles),
                _patients_cell(summary),
                count_cell(sum(summary.nuclei_by_class.values())),
                Cell(f"{summary.coverage:.1%}", kind="number"),
                count_cell(len(summary.empty_tiles)),
                count_cell(summary.nuclei_painted_over),
                count_cell(summary.overlap_px),
                count_cell(summary.background_mismatch_px),
            ),
        )
        for summary in summaries
    )
    columns = (
        "Tiles",
        "Patients",
        "Nuclei",
        "Nuclear pixels",
        "Tiles without nuclei",
        "Nuclei painted over",
        "Pixels claimed twice",
    )
    return Table(
        "Folds as read",
        "Fold",
        (*columns, "Pixels where the background channel disagrees"),
        rows,
        note="Where class channels overlap, the later one wins, as in the official metric. A nucleus that later ones "
        "cover completely is in no map and no figure. Patients: as patients.npy names them; intervals draw them as a whole.",
        kind="results",
    )


def class_count_table(summaries: Iterable[FoldSummary]) -> Table:
    """Nuclei of each class by fold."""
    names = CLASS_NAMES[1:]
    rows = tuple(
        Row(f"fold {summary.fold}", tuple(count_cell(summary.nuclei_by_class.get(name, 0)) for name in names))
        for summary in summaries
    )
    return Table("Nuclei by class", "Fold", names, rows, kind="results")


def target_table(checks: Iterable[TargetCheck]) -> Table:
    """Tiles, targets and oracle of each family."""
    methods = tuple(dict.fromkeys(method for check in checks for method in check.oracle))
    oracles = tuple((method, name) for method in methods for name in ("aji", "pq"))
    columns = (
        *("Tiles", "Nuclei", "Nuclear pixels", "HV magnitude"),
        *(f"Oracle {name.upper()}, {method}" for method, name in oracles),
    )
    rows = []
    for check in checks:
        if not check.n_tiles:
            rows.append(absent_row(family_label(check.family), "no tiles in any fold", len(columns)))
            continue
        counts = (count_cell(check.n_tiles), count_cell(check.n_nuclei))
        shares = (
            Cell(f"{check.coverage:.1%}", kind="number"),
            Cell(number(check.hv_magnitude), kind="number"),
        )
        oracle = tuple(figure_cell(check.oracle.get(method, {}).get(name)) for method, name in oracles)
        rows.append(Row(family_label(check.family), (*counts, *shares, *oracle)))
    return Table(
        "Targets and oracle (all folds)",
        "Family",
        columns,
        tuple(rows),
        note="The oracle turns the truth into perfect maps and back into nuclei with each watershed method and its "
        "default parameters: about the best that any decoder can do with it. Means over tiles; "
        f"{_INTERVALS}.",
        kind="results",
    )


def feature_table(checks: Iterable[FeatureCheck]) -> Table:
    """What was checked of the features of each fold."""
    checks = tuple(checks)
    names = tuple(dict.fromkeys(check.name for document in checks for check in document.checks))
    rows = []
    for document in checks:
        found = {check.name: check for check in document.checks}
        cells = tuple(
            Cell(found[name].found, hint=f"expected: {found[name].expected}") if name in found else ABSENT
            for name in names
        )
        rows.append(Row(document.fold_id, (count_cell(document.n_tiles), Cell(number(document.cls_std)), *cells)))
    expected = {check.name: check.expected for document in checks for check in document.checks}
    return Table(
        "Feature checks (all passed, else the run would have stopped)",
        "Fold",
        ("Tiles", "CLS standard deviation", *names),
        tuple(rows),
        note="; ".join(f"{name}: expected {text}" for name, text in expected.items()),
        kind="results",
    )


def watershed_table(choices: Sequence[WatershedChoice]) -> Table:
    """Chosen watershed method and parameters with the runner-up, by split and family."""
    names = tuple(dict.fromkeys(name for choice in choices for name in _searched(choice)))
    columns = ("Status", "Method", *names, "AJI on validation tiles", "Runner-up", "Its AJI")
    rows: list[Row] = []
    for choice in choices:
        label = f"split {choice.split} · {family_label(choice.family)}"
        if choice.status == "absent":
            rows.append(absent_row(label, choice.reason, len(columns)))
            continue
        best, second = (*choice.grid[:2], None, None)[:2]
        cells = (
            Cell(choice.status, hint=choice.reason),
            Cell(choice.method),
            *(Cell(_parameter(choice.parameters.get(name)), kind="number") for name in names),
            figure_cell(best.aji if best else None),
            _runner_up(best, second),
            figure_cell(second.aji if second else None),
        )
        rows.append(Row(label, cells, note=choice.reason))
    return Table(
        "Watershed parameters, chosen on the validation folds",
        "Decoder",
        columns,
        tuple(rows),
        note="Probability thresholds in 0..1, sizes and gains in pixels of 0.25 µm. Parameters outside the grid keep "
        "their defaults (hovernet: the published ones). The runner-up is named by what differs from the best. "
        f"AJI: mean over tiles; {_INTERVALS}.",
        kind="results",
    )


def watershed_warnings(choices: Iterable[WatershedChoice]) -> tuple[str, ...]:
    """Warnings of the search, each with the decoder that it is about."""
    return tuple(
        f"split {choice.split}, {family_label(choice.family)}: {warning}"
        for choice in choices
        for warning in choice.warnings
    )


def _searched(choice: WatershedChoice) -> tuple[str, ...]:
    """Parameters of the method that differ within its part of the grid; all of them where none does."""
    tried = [point.parameters for point in choice.grid if point.method == choice.method]
    if not tried:
        return ()
    return tuple(name for name in choice.parameters if len({point.get(name) for point in tried}) > 1) or tuple(
        choice.parameters
    )


def _patients_cell(summary: FoldSummary) -> Cell:
    if not summary.n_patients:
        return Cell("–", hint="no patients.npy: intervals are over tiles")
    without = f" (unknown: {summary.n_tiles_without_patient:,} tiles)" if summary.n_tiles_without_patient else ""
    return Cell(f"{summary.n_patients:,}{without}", kind="number")


def _runner_up(best: GridPoint | None, second: GridPoint | None) -> Cell:
    if best is None or second is None:
        return ABSENT
    changed = {name: value for name, value in second.parameters.items() if best.parameters.get(name) != value}
    method = (second.method,) if second.method != best.method else ()
    return Cell(", ".join((*method, *(f"{name} {_parameter(value)}" for name, value in changed.items()))))


def _parameter(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
