"""The part Doubt of the page: what is said of probabilities, counts and tiles unlike the training data."""

import dataclasses

import pytest
import run_documents as documents

from cellvit.formats.calibration import CountBound
from cellvit.report import doubt
from cellvit.report.data import ReportData
from cellvit.report.page import render


@pytest.fixture
def doubted(data: ReportData) -> ReportData:
    of = {
        "digestive": documents.calibration("digestive"),
        "epidermal": documents.absent_calibration("epidermal"),
        "all": documents.calibration("all"),
    }
    decoders = tuple(dataclasses.replace(one, calibration=of[one.header.family]) for one in data.decoders)
    return dataclasses.replace(data, decoders=decoders, novelties=(documents.novelty(),))


def test_the_page_has_the_part_with_diagrams_tables_and_reasons(doubted) -> None:
    page = render(doubted)

    assert '<a href="#doubt">Doubt</a>' in page
    assert 'alt="Reliability diagrams on the test tiles' in page
    assert "absent: no validation tiles" in page
    assert "9 of 10 (90%)" in page
    assert "30.0%" in page


def test_without_calibrations_the_page_has_no_such_part(data) -> None:
    assert 'id="doubt"' not in render(data)


def test_a_lower_error_is_said_and_too_low_coverage_is_named_with_its_class(doubted) -> None:
    probabilities, counts, tiles, *_ = doubt.conclusions(doubted.calibrations, doubted.novelties)

    assert "lowers the calibration error on the test tiles of 2 of 2 decoders" in probabilities
    assert "2 of 4 intervals cover" in counts
    assert "Dead (2 of 10)" in counts
    assert "do not rely on these intervals" in counts
    assert "30 of 400 test tiles (7.5%) are unlike the training data" in tiles


def test_a_higher_error_is_said_too() -> None:
    (line, *_) = doubt.conclusions([documents.calibration("digestive", after=documents.reliability(0.4))], [])

    assert "lowers the calibration error on the test tiles of 0 of 1 decoder" in line
    assert "raises that of" in line


def test_what_could_not_be_fitted_is_said() -> None:
    few = documents.calibration(
        "digestive", note="12 validation nuclei are matched", before=None, after=None, counts=()
    )

    lines = doubt.conclusions([few], [documents.novelty(status="absent", reason="no validation tiles", shares=())])

    assert any("12 validation nuclei are matched" in line for line in lines)
    assert any("no measure of tiles unlike the training data: no validation tiles" in line for line in lines)


def test_a_bound_without_enough_units_says_how_many_are_needed() -> None:
    few = documents.calibration("digestive", counts=(CountBound(class_name="all", n_units=3),))

    (row,) = doubt.count_table(few).rows

    assert row.cells[0].text == "absent: 3 units are too few: 9 are needed"


def test_organs_are_rows_and_roles_are_columns() -> None:
    rows = doubt.novelty_table([documents.novelty()]).rows

    assert [row.heading for row in rows] == ["All tiles", "Bile-duct"]
    assert [cell.text for cell in rows[1].cells] == ["–", "–", "30.0%"]
