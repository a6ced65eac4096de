"""Cells of CSV tables that people open in spreadsheets, which take some texts for formulas."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "'")
"""First characters of a text that a spreadsheet would take for a formula (OWASP: CSV injection), and the apostrophe that marks such
texts."""


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
