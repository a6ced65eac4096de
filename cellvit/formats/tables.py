"""CSV tables: undefined numbers are empty cells, and every number comes back bit for bit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from cellvit.errors import ContractError
from cellvit.formats.digests import missing, remake

_FORMULA: Final = ("=", "+", "-", "@", "'")
"""First characters of a text that a spreadsheet would take for a formula, and the apostrophe that marks such texts."""


def safe_cell(text: str) -> str:
    """The text as spreadsheets show it and compute nothing: one that they would take for a formula gets an apostrophe.

    Examples:
        >>> safe_cell("=1+1"), safe_cell("TCGA-A1")
        ("'=1+1", 'TCGA-A1')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def cell_text(cell: str) -> str:
    """The text that `safe_cell` wrote.

    Examples:
        >>> cell_text("'=1+1"), cell_text("'s-Hertogenbosch"), cell_text(safe_cell("'=1"))
        ('=1+1', "'s-Hertogenbosch", "'=1")
    """
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell


def read_table(path: Path, columns: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """The table at `path`; columns of `numbers` are float64 with NaN for empty cells, all others are text.

    Cells are converted by Python: versions of pandas differ in the last bit of a number.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It has other columns.
    """
    if not path.exists():
        raise missing(path)
    table = pd.read_csv(path, dtype=object, keep_default_na=False)
    if tuple(table.columns) != tuple(columns):
        differing = sorted({*table.columns} ^ {*columns})
        raise ContractError(
            f"{path}: the columns are not those expected: {', '.join(differing) or 'another order'}. Fix: {remake(path)}"
        )
    converted = {name: table[name].map(lambda text: float(text or "nan")).astype("float64") for name in numbers}
    return table.assign(**converted)
