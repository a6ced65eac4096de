"""Shards of a fold: runs of rows that are extracted by jobs of their own, and what their files are called."""

import re
from pathlib import Path
from typing import Final, NamedTuple, Self

from cellvit.errors import SettingsError


class Shard(NamedTuple):
    """The `number`-th of `of` parts of a fold, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """A shard as the command line gives it.

        Examples:
            >>> Shard.parse("2/4")
            Shard(number=2, of=4)
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise SettingsError(f"--shard: number/count is expected, as 1/4, found {text}")
        return cls(int(found[1]), int(found[2]))

    def rows(self, n: int, *, block: int) -> range:
        """Rows of a fold of `n` tiles that belong to it: whole blocks, so that no forward pass differs by shards.

        Examples:
            >>> [Shard(k, 3).rows(10, block=2) for k in (1, 2, 3)]
            [range(0, 2), range(2, 6), range(6, 10)]
        """
        n_blocks = -(-n // block)
        first, after = ((n_blocks * k // self.of) * block for k in (self.number - 1, self.number))
        return range(min(first, n), min(after, n))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


SHARD: Final = "shard"
"""Attribute of a feature store: which shard of its fold it is, as number/count."""

SHARDS: Final = "shards"
"""Folder of shards, beside the folds' stores."""


def fold_of(path: Path) -> tuple[Path, str]:
    """Folder and name of the fold that a store or shard belongs to.

    Examples:
        >>> fold_of(Path("features/shards/fold1_2of4.h5"))
        (PosixPath('features'), 'fold1')
        >>> fold_of(Path("features/fold1.h5"))
        (PosixPath('features'), 'fold1')
    """
    folder = path.parent.parent if path.parent.name == SHARDS else path.parent
    return folder, re.sub(r"_\d+of\d+$", "", path.stem)
