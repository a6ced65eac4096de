"""How many tiles folds and families have, in words, as far as the summaries of the folds are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cellvit.config.data import Split
from cellvit.errors import CellvitError
from cellvit.formats.documents import read_document
from cellvit.formats.tiles import FoldSummary


@dataclass(frozen=True, slots=True)
class Tiles:
    """Numbers of tiles for format strings, as in messages of rules: ``{TILES:family {wildcards.family} split 1 role test}``.

    What follows the colon is words in pairs: ``fold N``, or ``split NAME role ROLE``, or ``folds all``; before them
    ``family NAME`` for its organs alone. A number that is not known yet is "all its tiles"; nothing fails.
    """

    results: Path
    folds: tuple[int, ...]
    families: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, Split]

    def __format__(self, asked: str) -> str:
        words = asked.split()
        given = dict(zip(words[::2], words[1::2], strict=True))
        if "fold" in given:
            folds: tuple[int, ...] = (int(given["fold"]),)
        else:
            folds = self.splits[given["split"]].roles[given["role"]] if "split" in given else self.folds
        try:
            n = sum(self._in_fold(fold, self.families.get(given.get("family", ""))) for fold in folds)
        except CellvitError:  # the summary is not there yet, or to be made again
            return "all its tiles"
        return f"{n:,} tile{'' if n == 1 else 's'}"

    def _in_fold(self, fold: int, organs: tuple[str, ...] | None) -> int:
        summary = read_document(self.results / "tiles" / f"fold{fold}.json", FoldSummary)
        return summary.n_tiles if organs is None else sum(summary.tiles_by_organ.get(organ, 0) for organ in organs)
