"""Galleries kept from one page to the next: their features may be gone, and their decoders need not run again.

They lie beside the page under no declared name. A gallery is taken where all that it shows is made from is the same.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from cellvit.contracts.documents import FamilyEvaluation
from cellvit.io.atomic import write_text
from cellvit.io.fingerprint import code_fingerprint
from cellvit.io.hashing import combined
from cellvit.io.seals import said_by_checkpoint
from cellvit.report.findings import Decoder
from cellvit.report.gallery import Gallery

_FOLDER: Final = ".galleries"
_MAKERS: Final = "cellvit.report.rerun"
"""Module whose code, with all that it reaches, decides what a gallery shows."""

_GALLERY: Final = TypeAdapter(Gallery)


def gallery_key(decoder: Decoder, checkpoint: Path, *, per_rank: int) -> str:
    """Hash of all that the gallery of an evaluated decoder is made from."""
    evaluation, watershed = decoder.evaluation, decoder.watershed
    assert isinstance(evaluation, FamilyEvaluation), decoder.key
    assert watershed is not None, decoder.key
    said = {
        "checkpoint": said_by_checkpoint(checkpoint, decoder.header),
        "watershed": watershed.model_dump_json(),
        "tiles": evaluation.tables.get("tiles", ""),
        "per_rank": str(per_rank),
        "code": code_fingerprint(_MAKERS),
    }
    return combined({**evaluation.provenance.made_from, **said})


def keep_gallery(page: Path, gallery: Gallery, key: str) -> None:
    """Keep a gallery beside the page."""
    shown = json.dumps(asdict(gallery))
    write_text(_path(page, gallery.split, gallery.family), json.dumps({"key": _signed(key, shown), "gallery": shown}))


def kept_gallery(page: Path, decoder: Decoder, key: str) -> Gallery | None:
    """What was kept under that key; None where it is another, damaged or not there."""
    path = _path(page, *decoder.key)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        shown = found["gallery"]
        return _GALLERY.validate_python(json.loads(shown)) if found["key"] == _signed(key, shown) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(page: Path, split: str, family: str) -> Path:
    return page.parent / _FOLDER / f"split{split}_{family}.json"


def _signed(key: str, shown: str) -> str:
    return hashlib.sha256(f"{key} {shown}".encode()).hexdigest()
