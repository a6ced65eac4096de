"""What Snakemake knows of the files of a run, kept beside them.

Snakemake decides what reruns by records of the job that made a file (its settings, code and reasons), kept by path in the
folder that it was called in. Results that were moved or copied, and results that a fresh clone meets, have none there, and
Snakemake takes a file without a record for right. So a run leaves its records in its results, with what each file then held,
and where others lie in the next call's folder these are taken over, for jobs whose files are what they say.
"""

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cellvit.errors import ContractError
from cellvit.io.atomic import write_text
from cellvit.io.hashing import sha256_of
from cellvit.io.head import is_locked

_NAME: Final = ".cellvit/records.json"
_FORMAT: Final = {"format": "cellvit-records", "version": 1}

_TAKEN_OVER: Final = Path(".snakemake", "cellvit_records")
"""Hashes of the records that the folder of Snakemake has seen last, a file for each output folder."""

_NO_PRODUCTS: Final = {"archive", "logs", "timings"}
_DECIDING: Final = ("seals/**/*.json", "watershed/**/*.json", "evaluation/**/*.json", "summary.csv")
"""Small products that decide what follows: who lacks the record of one cannot tell what to do again."""

_READ_WHOLE: Final = 1_000_000
"""Bytes up to which a product is told by its hash, and from which by its size: a large one has a seal, made with it."""

_PLACE: Final = "<results>/"


class Records:
    """Snakemake's records, by the paths that rules have.

    The public methods of what it keeps them in want its own jobs and files, which do not exist before the graph does: these are
    the methods below them, which every kind of store has.

    Args:
        persistence: The object in which Snakemake keeps them.
    """

    def __init__(self, persistence: Any) -> None:
        self._persistence = persistence

    @classmethod
    def of_folder(cls) -> "Records":
        """The records in the current folder, before Snakemake has opened them."""
        from snakemake.persistence.file import FilePersistence  # takes a second

        return cls(FilePersistence())

    def read(self, path: str) -> dict[str, Any] | None:
        """The record of a file, if there is one."""
        record = self._persistence._read_record(path)
        return None if record is None else dict(record.items())

    def write(self, path: str, record: Mapping[str, Any]) -> None:
        """Replace the record of a file."""
        from snakemake.persistence import MetadataRecord

        self._persistence._write_record(path, MetadataRecord(**record))

    def forget(self, path: str) -> None:
        """Remove the record of a file, if there is one."""
        self._persistence._delete_record(path)

    def unfinished(self, paths: list[str]) -> set[str]:
        """Which of these files belong to jobs whose end Snakemake did not see."""
        return set(self._persistence._filter_incomplete_keys(paths))


def keep_records(results: str, known: Records) -> None:
    """Leave the records of all products in the output folder, after a run."""
    kept = {}
    for name in _products(results):
        record = known.read(f"{results}/{name}")
        if record is not None:
            kept[name] = {"holds": _content(Path(results, name)), "record": _moved(record, f"{results}/", _PLACE)}
    text = json.dumps({**_FORMAT, "records": kept}, indent=1, sort_keys=True) + "\n"
    write_text(Path(results, _NAME), text)
    _note(results, text)


def recall_records(results: str, known: Records) -> list[str]:
    """Take over the records in the output folder, where they are others than this folder has seen last.

    While a run goes on in this folder nothing is done.

    Returns:
        Products that decide what follows and of which nothing is known; empty in all usual cases.

    Raises:
        ContractError: The records cannot be read.
    """
    memory = Path(results, _NAME)
    text = memory.read_text(encoding="utf-8") if memory.exists() else ""
    if is_locked(Path()) or (text and _noted(results) == _sha256(text)):
        return []
    if text:
        _take_over(results, _jobs(memory, text), known)
    unknown = _unknown(results, known)
    if text or unknown:
        _level_times(results)
    if text and not unknown:
        _note(results, text)
    return unknown


def _take_over(results: str, jobs: list[dict[str, dict[str, Any]]], known: Records) -> None:
    """Write the records of jobs whose files hold what they held then; of other files nothing is known."""
    strange = set(_products(results))
    for products in jobs:
        present = {name: kept for name, kept in products.items() if name in strange}
        if all(_content(Path(results, name)) == kept["holds"] for name, kept in present.items()):
            for name, kept in present.items():
                known.write(f"{results}/{name}", _moved(kept["record"], _PLACE, f"{results}/"))
            strange -= present.keys()
    for name in strange:  # what is recorded of these paths speaks of files that were here before
        known.forget(f"{results}/{name}")


def _jobs(memory: Path, text: str) -> list[dict[str, dict[str, Any]]]:
    """Kept records by product, for each job: those with one log."""
    jobs: dict[tuple[str, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
    try:
        said = json.loads(text)
        if {name: said[name] for name in _FORMAT} != _FORMAT:
            raise ValueError(f"{_FORMAT} expected, found {[said[name] for name in _FORMAT]}")
        for name, kept in said["records"].items():
            jobs[tuple(kept["record"]["log"] or (name,))][name] = kept
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(
            f"{memory}: holds no records of Snakemake ({error!r}). Without them changes since the run are not noticed. "
            f"Check and accept what there is:  rm {memory} && make verify && snakemake --touch --forceall"
        ) from error
    return list(jobs.values())


def _unknown(results: str, known: Records) -> list[str]:
    """Deciding products without a record, but for those of jobs that Snakemake knows to be unfinished."""
    found = sorted(str(path.relative_to(results)) for pattern in _DECIDING for path in Path(results).glob(pattern))
    without = [name for name in found if known.read(f"{results}/{name}") is None]
    unfinished = known.unfinished([f"{results}/{name}" for name in without])
    return [name for name in without if f"{results}/{name}" not in unfinished]


def _level_times(results: str) -> None:
    """Give all products one time.

    Beside its records Snakemake judges by times, which say when a file was written or copied and not whether anything
    changed: of files of one time, none is newer.
    """
    now = time.time_ns()
    for name in _products(results):
        with suppress(FileNotFoundError):  # a run beside this one may remove files
            os.utime(Path(results, name), ns=(now, now))


def _products(results: str) -> Iterator[str]:
    """Files of the output folder that steps may have made, relative to it."""
    for folder, folders, files in os.walk(results):
        here = Path(folder).relative_to(results)
        skipped = _NO_PRODUCTS if here == Path() else set()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in skipped)
        yield from (str(here / name) for name in sorted(files) if not name.startswith("."))


def _content(path: Path) -> str:
    size = path.stat().st_size
    return f"sha256 {sha256_of(path)}" if size <= _READ_WHOLE else f"bytes {size}"


def _moved(record: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """A record with the paths of its input and log in another place; what Snakemake compares has none in it."""

    def placed(path: str) -> str:
        return new + path.removeprefix(old) if path.startswith(old) else path

    return {
        **record,
        "input": [placed(path) for path in record["input"] or ()],
        "log": [placed(path) for path in record["log"] or ()],
        "input_checksums": {placed(path): said for path, said in (record["input_checksums"] or {}).items()},
    }


def _note(results: str, text: str) -> None:
    write_text(_note_of(results), _sha256(text) + "\n")


def _noted(results: str) -> str:
    note = _note_of(results)
    return note.read_text(encoding="utf-8").strip() if note.exists() else ""


def _note_of(results: str) -> Path:
    return _TAKEN_OVER / _sha256(results)[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
