"""A run under verification: where its products are, and what those that were found intact say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cellvit.config.settings import Settings
from cellvit.contracts.documents import CheckpointHeader
from cellvit.contracts.removed import StoreHeader
from cellvit.io.removed import read_removed
from cellvit.verification.layout import Layout
from cellvit.verification.progress import Reading


class Source(NamedTuple):
    """A product as a source of others, or a part of it (the rows of one fold)."""

    path: Path
    part: str = ""


@dataclass
class Run:
    """What is known of a run so far; links add to it in the order of the graph.

    Attributes:
        removed: Headers of stores that `clean_features` removed, by path within the output folder.
    """

    settings: Settings
    layout: Layout
    progress: Reading
    removed: Mapping[str, StoreHeader]
    _said: dict[Source, str] = field(default_factory=dict)
    _behind: dict[Path, list[Path]] = field(default_factory=dict)
    _headers: dict[Path, StoreHeader] = field(default_factory=dict)
    _checkpoints: dict[Path, CheckpointHeader] = field(default_factory=dict)

    def know(self, source: Source, sha256: str) -> None:
        """An intact product says this."""
        self._said[source] = sha256

    def says(self, source: Source) -> str | None:
        """What a product says, as a hash; None where it was not found intact."""
        return self._said.get(source)

    def block(self, product: Path, broken: Sequence[Path]) -> None:
        """A product waits for these, which are broken."""
        self._behind[product] = list(broken)

    def behind(self, product: Path) -> list[Path]:
        """What is broken behind a product that was not found intact; itself where nothing is."""
        return self._behind.get(product) or [product]

    def know_store(self, path: Path, header: StoreHeader) -> None:
        """An intact store says this."""
        self._headers[path] = header
        self.know(Source(path), header.content_sha256)

    def header(self, path: Path) -> StoreHeader | None:
        """Header of a store that was found intact, or that was removed on purpose."""
        return self._headers.get(path)

    def know_checkpoint(self, path: Path, said: str, header: CheckpointHeader) -> None:
        """An intact checkpoint says this."""
        self._checkpoints[path] = header
        self.know(Source(path), said)

    def checkpoint(self, path: Path) -> CheckpointHeader | None:
        """Header of a checkpoint that was found intact."""
        return self._checkpoints.get(path)

    def removed_header(self, path: Path) -> StoreHeader | None:
        """What a removed store said; None where it was not removed on purpose."""
        return self.removed.get(str(path.relative_to(self.layout.results)))


def run_of(settings: Settings) -> Run:
    """A run of which nothing is known yet."""
    layout = Layout(settings)
    return Run(settings, layout, Reading(_bytes_to_read(layout)), read_removed(layout.results))


def _bytes_to_read(layout: Layout) -> int:
    """Bytes of the long files: raw folds and the stores that hold rows."""
    files = [path for fold in layout.folds for path in layout.raw(fold).inputs.values()]
    files += [path for fold in layout.folds for path in (layout.tiles(fold), layout.features(fold))]
    files += [path for fold in layout.folds for path in layout.shards(fold)]
    return sum(path.stat().st_size for path in files if path.is_file())
