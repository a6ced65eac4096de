"""Origin of a report: two meta tags at the end of its head, what it was made from and the hash of the page itself."""

import hashlib
import html
import re
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.digests import OwnDigest
from cellvit.formats.provenance import Provenance

_END: Final = "</head>"
_ORIGIN: Final = re.compile(r'<meta name="cellvit-origin" content="([^"]*)">\n')
_OWN: Final = re.compile(r'<meta name="cellvit-sha256" content="([0-9a-f]*)">\n')


def write_page(path: Path, page: str, origin: Provenance) -> None:
    """Write a page with its origin and its hash (of the page without the tag that holds it)."""
    described = html.escape(origin.model_dump_json())
    text = page.replace(_END, f'<meta name="cellvit-origin" content="{described}">\n{_END}', 1)
    own = f'<meta name="cellvit-sha256" content="{_sha256(text)}">\n'
    write_text(path, text.replace(_END, own + _END, 1))


def read_page_origin(path: Path) -> Provenance:
    """What a report was made from.

    Raises:
        MissingInputError: There is no file.
        ContractError: It says nothing of it, as no page of `build_report` does.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    found = _ORIGIN.search(path.read_text(encoding="utf-8", errors="replace"))
    try:
        return Provenance.model_validate_json(html.unescape(found[1]) if found else "")
    except ValidationError as error:
        raise ContractError(
            f"{path}: is no report that says what it was made from. Make it again: rm {path} && snakemake -- {path}"
        ) from error


def page_digest(path: Path) -> OwnDigest:
    """What a report says of itself; the two differ where it was changed after it was written."""
    text = path.read_bytes().decode(errors="replace")
    found = _OWN.search(text)
    return OwnDigest(found[1] if found else "", _sha256(_OWN.sub("", text, count=1)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
