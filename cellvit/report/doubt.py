"""Tables and conclusions of the part Doubt: calibrated probabilities, bounds of counts, tiles unlike the training data."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cellvit.evaluation.images import svg_uri
from cellvit.formats.calibration import ALL_CLASSES, CountBound, DecoderCalibration, Reliability
from cellvit.formats.novelty import FlaggedShare, NoveltyHeader
from cellvit.metrics.conformal import bound_rank, expected_covered
from cellvit.report.cells import ABSENT, Cell, Row, Table, absent_row, count_cell, number_cell
from cellvit.report.charts import reliability_charts
from cellvit.report.wording import counted, decoder_label, family_label

EXPLANATION: Final = (
    "Everything here was fitted on the validation folds and checked on the test folds. The class probabilities of a nucleus "
    "are raised to the power of 1 / temperature, so that among the nuclei with a probability of 80 % about 80 % have the "
    "right class. The interval of a count is the predicted count plus and minus a share of it. A tile is unlike the training "
    "data if the CLS token of the encoder lies farther from the training tiles than 99 % of the validation tiles do."
)
"""What the three parts are, for a reader of the page."""

_ROLES: Final = {"train": "training", "validate": "validation", "test": "test"}

_SMALL: Final = 0.005
"""Change of the calibration error that is not called a change (decision): a hundredth is visible in a diagram."""

_SHOWN: Final = 3
"""Bounds of too low coverage that are named."""


def conclusions(calibrations: Sequence[DecoderCalibration], novelties: Sequence[NoveltyHeader]) -> tuple[str, ...]:
    """What the tables say, one sentence for each part; nothing where nothing was fitted."""
    lines = (_of_probabilities(calibrations), _of_counts(calibrations), *map(_of_novelty, novelties))
    notes = (f"{decoder_label(one.split, one.family).capitalize()}: {one.note}." for one in calibrations if one.note)
    return tuple(line for line in (*lines, *notes) if line)


def reliability_chart(calibrations: Sequence[DecoderCalibration]) -> tuple[str, str]:
    """Data URI of the reliability diagrams of a split, and what they show; empty without test nuclei."""
    shown = {family_label(one.family): one for one in calibrations if one.before is not None}
    if not shown:
        return "", ""
    alt = (
        "Reliability diagrams on the test tiles: share of right classes by the probability of the predicted class, as "
        f"predicted and with the temperature, for {', '.join(shown)}. The table below has the calibration errors."
    )
    return svg_uri(reliability_charts(shown)), alt


def probability_table(calibrations: Iterable[DecoderCalibration]) -> Table:
    """Temperature and calibration error before and after it, by decoder."""
    columns = ("Temperature", "Validation nuclei", "ECE as predicted", "ECE with the temperature", "Test nuclei")
    note = (
        "Nuclei that match an annotated nucleus (IoU above 0.5). ECE: expected calibration error on the test tiles, ten bins "
        "of the probability of the predicted class; 0 is perfect. A temperature above 1 makes probabilities less certain."
    )
    rows = tuple(_probability_row(one, len(columns)) for one in calibrations)
    return Table("Class probabilities", "Decoder", columns, rows, note)


def count_table(calibration: DecoderCalibration) -> Table:
    """Bounds of the counts of one decoder, and the coverage that was found."""
    unit = "patient" if calibration.unit == "patient" else "tile"
    columns = ("Predicted count ±", f"Validation {unit}s", "Stated coverage", "Found on test", "Expected by chance")
    rows = tuple(_count_row(bound, calibration.level) for bound in calibration.counts)
    note = (
        f"Interval: predicted ± share × (predicted + 1) for all nuclei of one {unit}. Expected by chance: how many test "
        f"{unit}s are covered in 95 % of all cases, if they are like the validation {unit}s; ties make it more."
    )
    return Table(f"Counts, {decoder_label(calibration.split, calibration.family)}", "Class", columns, rows, note)


def novelty_table(novelties: Iterable[NoveltyHeader]) -> Table:
    """Tiles unlike the training data by role and organ."""
    columns = tuple(f"{name.capitalize()} tiles" for name in _ROLES.values())
    rows = [row for header in novelties for row in _novelty_rows(header, len(columns))]
    note = (
        "Share of tiles above the threshold, of how many. About 1 % of the validation tiles lie above it by construction. "
        "Training tiles decided mean and covariance, so that few of them do."
    )
    return Table("Tiles unlike the training data", "Organ", columns, tuple(rows), note)


def _of_probabilities(calibrations: Sequence[DecoderCalibration]) -> str:
    pairs = [(one, one.before.error, one.after.error) for one in calibrations if one.before and one.after]
    if not pairs:
        return ""
    better = [one for one, before, after in pairs if after < before - _SMALL]
    worse = [one for one, before, after in pairs if after > before + _SMALL]
    line = f"Class probabilities: the temperature lowers the calibration error on the test tiles of {len(better)} of {counted(len(pairs), 'decoder')}"
    if worse:
        names = ", ".join(decoder_label(one.split, one.family) for one in worse)
        line += f" and raises that of {names}: there the validation nuclei are too few, or not like the test nuclei"
    return line + ". Predictions have the probabilities with the temperature."


def _of_counts(calibrations: Sequence[DecoderCalibration]) -> str:
    """Whether the found coverage is what chance allows, by decoder and class."""
    checked = [(one, bound) for one in calibrations for bound in one.counts if bound.test_n]
    if not checked:
        few = any(one.counts for one in calibrations)
        return "Counts: no interval could be checked, because there are too few validation or test units." * few
    low = [(one, bound) for one, bound in checked if bound.test_covered < _expected(bound, one.level)[0]]
    level = calibrations[0].level
    line = f"Counts: {len(checked) - len(low)} of {len(checked)} intervals cover as many test units as stated ({level:.0%}), up to chance"
    if wide := sum(bound.share >= 1 for _, bound in checked):
        line += f"; {wide} of them reach from 0 to twice the count or more, and say little"
    if not low:
        return f"{line}."
    names = [
        f"{decoder_label(one.split, one.family)}, {_class_label(bound)} ({bound.test_covered} of {bound.test_n})"
        for one, bound in low[:_SHOWN]
    ]
    more = f"; and {len(low) - _SHOWN} more" if len(low) > _SHOWN else ""
    return f"{line}. Fewer are covered for {'; '.join(names)}{more}: do not rely on these intervals."


def _of_novelty(header: NoveltyHeader) -> str:
    if header.status == "absent":
        return f"Split {header.split} has no measure of tiles unlike the training data: {header.reason}."
    test = next((share for share in header.shares if share.role == "test" and not share.organ), None)
    if test is None:
        return ""
    return (
        f"Split {header.split}: {test.n_flagged} of {test.n:,} test tiles ({_share(test)}) are unlike the training data; about "
        f"{1 - header.quantile:.0%} is expected if the test tiles are like the validation tiles."
    )


def _probability_row(calibration: DecoderCalibration, n_columns: int) -> Row:
    heading = decoder_label(calibration.split, calibration.family)
    if calibration.status == "absent":
        return absent_row(heading, calibration.reason, n_columns)
    n_test = calibration.before.n if calibration.before else 0
    cells = (
        number_cell(f"{calibration.temperature:.2f}"),
        count_cell(calibration.n_nuclei),
        _error_cell(calibration.before),
        _error_cell(calibration.after),
        count_cell(n_test),
    )
    return Row(heading, cells)


def _error_cell(reliability: Reliability | None) -> Cell:
    return ABSENT if reliability is None else number_cell(f"{reliability.error:.3f}")


def _count_row(bound: CountBound, level: float) -> Row:
    if math.isnan(bound.share):
        return absent_row(_class_label(bound), _why_unbounded(bound, level), 5)
    found = expected = ABSENT
    if bound.test_n:
        share = f"{bound.test_covered} of {bound.test_n} ({bound.test_covered / bound.test_n:.0%})"
        low, high = _expected(bound, level)
        found = number_cell(share)
        expected = number_cell(f"{low} to {high}")
        if bound.test_covered < low:
            found = found._replace(kind="number fail", hint="fewer than chance explains")
    cells = (
        number_cell(f"{bound.share:,.0%}"),
        count_cell(bound.n_units),
        number_cell(f"{level:.0%}"),
        found,
        expected,
    )
    return Row(_class_label(bound), cells)


def _why_unbounded(bound: CountBound, level: float) -> str:
    if not bound.n_units:
        return "no validation tile has a nucleus of it, neither in the ground truth nor in the prediction"
    least = next(n for n in range(1, 10_000) if bound_rank(n, level) <= n)
    return f"{bound.n_units} units are too few: {least} are needed"


def _expected(bound: CountBound, level: float) -> tuple[int, int]:
    return expected_covered(bound.n_units, bound.test_n, level)


def _class_label(bound: CountBound) -> str:
    return "All nuclei" if bound.class_name == ALL_CLASSES else bound.class_name


def _novelty_rows(header: NoveltyHeader, n_columns: int) -> Iterator[Row]:
    group = f"split {header.split}"
    if header.status == "absent":
        yield absent_row(group, header.reason, n_columns)
        return
    by_place = {(share.organ, share.role): share for share in header.shares}
    for organ in dict.fromkeys(share.organ for share in sorted(header.shares, key=lambda share: share.organ)):
        cells = tuple(_share_cell(by_place.get((organ, role))) for role in ("train", "validate", "test"))
        yield Row(organ.replace("_", " ") or "All tiles", cells, group=group)
        group = ""


def _share_cell(share: FlaggedShare | None) -> Cell:
    return ABSENT if share is None else Cell(_share(share), n=f"n = {share.n:,}", kind="number")


def _share(share: FlaggedShare) -> str:
    return f"{share.n_flagged / share.n:.1%}"
