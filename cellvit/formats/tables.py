"""CSV tables: undefined numbers are empty cells, and every number comes back bit for bit."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellvit.errors import ContractError
from cellvit.formats.digests import missing, remake


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
