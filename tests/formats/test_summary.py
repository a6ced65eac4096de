import math

import pytest

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.summary import SummaryRow, read_summary, write_summary


def test_rows_are_read_bit_for_bit_as_written(tmp_path) -> None:
    rows = (
        SummaryRow("1", "digestive", "aji", 0.1 + 0.2, 0.25, 1e-17, 99, "partial"),
        SummaryRow("1", "digestive", "bpq.shared", 5e-324, 0.4, 1 / 3, 99),
    )

    write_summary(tmp_path / "summary.csv", rows)

    assert read_summary(tmp_path / "summary.csv") == rows
    assert "0.30000000000000004,0.25,1e-17,99,partial" in (tmp_path / "summary.csv").read_text()


def test_undefined_numbers_are_empty_cells(tmp_path) -> None:
    write_summary(tmp_path / "summary.csv", [SummaryRow("1", "NA", "aji", math.nan, math.nan, 3.0, 0, "undefined")])

    assert (
        tmp_path / "summary.csv"
    ).read_text() == "split,family,metric,value,low,high,n,gate\n1,NA,aji,,,3.0,0,undefined\n"
    (row,) = read_summary(tmp_path / "summary.csv")
    assert math.isnan(row.value)
    assert row.family == "NA"


def test_other_columns_and_a_missing_file_are_refused_with_the_fix(tmp_path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n")

    with pytest.raises(ContractError, match="Fix: rm"):
        read_summary(tmp_path / "other.csv")
    with pytest.raises(MissingInputError, match="Fix: snakemake -- "):
        read_summary(tmp_path / "summary.csv")
