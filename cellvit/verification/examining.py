"""What every product is asked: is it there, does it open, and does it say of itself what it should?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from cellvit.contracts.documents import Document
from cellvit.contracts.provenance import Provenance
from cellvit.errors import CellvitError, MissingInputError
from cellvit.io.documents import own_hash, parse_document
from cellvit.io.fingerprint import code_fingerprint
from cellvit.io.hashing import sha256_of
from cellvit.io.seals import read_seal
from cellvit.io.written import OwnHash
from cellvit.verification.links import Fault, Link, Remedy
from cellvit.verification.run import Run, Source

Read = TypeVar("Read")
AnyDocument = TypeVar("AnyDocument", bound=Document)


@dataclass
class Examination:
    """One product under examination: collects what is found, and becomes a `Link` at the end."""

    run: Run
    product: Path
    faults: list[Fault] = field(default_factory=list)
    waits_for: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    removed: bool = False

    def link(self, sources: str, remedy: Remedy) -> Link:
        """What was found; what is broken keeps what is made from it waiting."""
        self.waits_for = [] if self.faults else self.waits_for
        self.run.block(self.product, self.waits_for)
        found = tuple(self.faults), tuple(dict.fromkeys(self.waits_for)), tuple(self.notes)
        return Link(self.product, sources, remedy, *found, removed=self.removed)

    def fault(self, name: str, expected: object, found: object, *, file: Path | None = None) -> None:
        """Note a claim that does not hold."""
        self.faults.append(Fault(file or self.product, name, str(expected), str(found)))

    def expect(self, name: str, expected: object, found: object, *, file: Path | None = None) -> None:
        """Note a fault where the two differ."""
        if expected != found:
            self.fault(name, expected, found, file=file)

    def read(self, reader: Callable[[Path], Read], what: str, path: Path | None = None) -> Read | None:
        """What `reader` reads of the product (or of a file beside it); None, with a fault, where it cannot."""
        path = path or self.product
        try:
            return reader(path)
        except MissingInputError:
            self.fault("file", what, "no such file", file=path)
        except CellvitError as error:
            self.fault("file", what, _first_sentence(str(error), path), file=path)
        except (OSError, ValueError, SafetensorError) as error:
            self.fault("file", what, error, file=path)
        return None

    def own(self, hashes: OwnHash) -> bool:
        """Note a fault where a file is not as it was written; True where it is."""
        self.expect("sha256 (of itself)", hashes.carried or "a hash", hashes.actual if hashes.carried else "none")
        return hashes.carried == hashes.actual

    def settings(self, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Note each setting that the product was made with and that is another now."""
        was, is_now = flattened({key: recorded.get(key) for key in now}), flattened(now)
        for key in sorted(was.keys() | is_now.keys()):
            self.expect(f"settings.{key}", is_now.get(key), was.get(key))

    def sources(self, origin: Provenance, sources: Mapping[str, Source]) -> None:
        """Note each source that is not what the product was made from; wait for those that are broken themselves."""
        for name, source in sources.items():
            said = self.run.says(source)
            if said is None:
                self.wait(source.path)
            else:
                self.expect(f"made_from.{name}", said, origin.made_from.get(name, "nothing"))
        for name in sorted(origin.made_from.keys() - sources.keys()):
            self.fault(f"made_from.{name}", "no such source", origin.made_from[name])

    def wait(self, source: Path) -> None:
        """Note that a source was not found intact."""
        self.waits_for += self.run.behind(source)

    def code(self, recorded: str, stage: str) -> None:
        """Note where other code of the stage made the product than there is now."""
        now = code_fingerprint(f"cellvit.stages.{stage}")
        if recorded != now:
            self.notes.append(
                f"code of {stage}: {recorded or 'unknown'} then, {now} now; snakemake makes it again, unless --touch accepted it"
            )

    def seal(self, seal: Path, said: str) -> None:
        """Note a fault where a seal is missing or says something else than the product."""
        found = self.read(read_seal, "a seal", seal)
        if found is not None:
            self.expect("says", said, found, file=seal)

    def document(self, kind: type[AnyDocument], place: Mapping[str, object]) -> AnyDocument | None:
        """The product as a document that belongs to `place` and is as it was written; it then says what it says."""
        document = self.read(lambda path: parse_document(path, kind), f"a {kind.__name__}")
        if document is None:
            return None
        intact = self.own(own_hash(self.product))
        self.belongs(document, place)
        if intact:
            self.run.know(Source(self.product), sha256_of(self.product))
        return document

    def belongs(self, document: Document, place: Mapping[str, object]) -> None:
        """Note what says that a product belongs elsewhere."""
        for name, expected in place.items():
            self.expect(name, expected, getattr(document, name))


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted key.

    Examples:
        >>> flattened({"training": {"epochs": 3}, "seed": 0})
        {'training.epochs': 3, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _first_sentence(text: str, path: Path) -> str:
    """An error without the path that it begins with and the remedy at its end."""
    return text.removeprefix(f"{path}: ").partition("\n")[0].partition(". ")[0]
