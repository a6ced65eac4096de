"""The page of a run as a file: meta tags at the end of its head hold its provenance and the digest of the page."""

import html
import re
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from cellvit.errors import ContractError
from cellvit.formats.atomic import write_text
from cellvit.formats.digests import OwnDigest, missing, remake, text_sha256
from cellvit.formats.provenance import Provenance

_END: Final = "</head>"
_PROVENANCE: Final = re.compile(r'<meta name="cellvit-provenance" content="([^"]*)">\n')
_OWN: Final = re.compile(r'<meta name="cellvit-sha256" content="([0-9a-f]*)">\n')


def write_page(path: Path, page: str, provenance: Provenance) -> None:
    """Write a page with its provenance and its digest (of the page without the tag that holds the digest)."""
    described = html.escape(provenance.model_dump_json())
    text = page.replace(_END, f'<meta name="cellvit-provenance" content="{described}">\n{_END}', 1)
    own = f'<meta name="cellvit-sha256" content="{text_sha256(text)}">\n'
    write_text(path, text.replace(_END, own + _END, 1))


def read_page_provenance(path: Path) -> Provenance:
    """The provenance that a page records.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It records none, so that it is not a page of `build_report`.
    """
    if not path.exists():
        raise missing(path)
    recorded = _PROVENANCE.search(path.read_text(encoding="utf-8", errors="replace"))
    try:
        return Provenance.model_validate_json(html.unescape(recorded[1]) if recorded else "")
    except ValidationError as error:
        raise ContractError(
            f"{path}: this is not a page of cellvit-optimus, because it records no provenance. Fix: {remake(path)}"
        ) from error


def page_digest(path: Path) -> OwnDigest:
    """The digest that a page records of itself, and the one of what it holds."""
    text = path.read_bytes().decode(errors="replace")
    recorded = _OWN.search(text)
    return OwnDigest(recorded[1] if recorded else "", text_sha256(_OWN.sub("", text, count=1)))
