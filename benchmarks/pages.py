"""Tables of a benchmark in a page of the documentation."""

from pathlib import Path

from cellvit.errors import ContractError
from cellvit.formats.atomic import write_text


def replace_tables(page: Path, program: str, text: str) -> None:
    """Replace everything between the two lines of a page that mark the tables of a program of this folder.

    Raises:
        ContractError: The page does not have both lines.
    """
    first, last = (f"<!-- {words} of benchmarks/{program} -->" for words in ("tables", "end of tables"))
    before, found_first, rest = page.read_text(encoding="utf-8").partition(first)
    _, found_last, after = rest.partition(last)
    if not (found_first and found_last):
        raise ContractError(f"{page}: expected the lines {first} and {last}. Fix: add them where the tables belong.")
    write_text(page, f"{before}{first}\n\n{text.strip()}\n\n{last}{after}")
