import math

import pytest

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.summary import SummaryRow, read_summary, write_summary


def test_what_is_written_is_read(tmp_path) -> None:
    rows = (
        SummaryRow("1", "digestive", "aji", 0.1 + 0.2, 0.25, 0.35, 99, "partial"),
        SummaryRow("1", "digestive", "bpq.pooled", 0.5, 0.4, 0.6, 99),
    )

    write_summary(tmp_path / "summary.csv", rows)

    assert read_summary(tmp_path / "summary.csv") == rows


def test_undefined_numbers_are_empty_cells(tmp_path) -> None:
    write_summary(tmp_path / "summary.csv", [SummaryRow("1", "f", "aji", math.nan, math.nan, math.nan, 0, "undefined")])

    header, line = (tmp_path / "summary.csv").read_text().splitlines()
    assert header == "split,family,metric,value,low,high,n,gate"
    assert line == "1,f,aji,,,,0,undefined"
    assert math.isnan(read_summary(tmp_path / "summary.csv")[0].value)


def test_other_columns_and_no_file_are_refused_with_the_remedy(tmp_path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n")

    with pytest.raises(ContractError, match="Make it again: rm"):
        read_summary(tmp_path / "other.csv")
    with pytest.raises(MissingInputError, match="snakemake -- "):
        read_summary(tmp_path / "summary.csv")
