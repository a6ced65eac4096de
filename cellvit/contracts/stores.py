"""Formats of the HDF5 stores: names, dtypes, axes, versions (docs/formats.md in words)."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Column:
    """One dataset of a store; the first axis is always the tile.

    Attributes:
        axes: Sizes after the first axis; a name where the size belongs to the store, a number where it is fixed.
        squeezes: True where lossless compression pays (maps of few values).
        unknown: True where a writer may leave the column out; zeros then say that nothing is known.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...] = ()
    squeezes: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A store's name, version and columns. A reader refuses any other version.

    Attributes:
        row_hashes: True where the writer adds the column `ROW_SHA256`, and the content hash is taken over it: it then does
            not depend on how the rows are spread over files, and rows can be checked one by one.
    """

    name: str
    version: int
    columns: tuple[Column, ...]
    row_hashes: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the datasets in the order in which they are hashed."""
        return tuple(column.name for column in self.columns)

    def dtype_of(self, name: str) -> str:
        """Dtype of the column of that name."""
        return next(column.dtype for column in self.columns if column.name == name)


SHA256_BYTES: Final = 32

ROW_SHA256: Final = "sha256"
"""Name of the column that holds the hash of each row's other columns."""

ID_DTYPE: Final = "S16"
"""Tile ids ``f{fold}-{row:05d}`` and organ names as fixed ASCII, so that virtual datasets can hold them."""

PATIENT_BYTES: Final = 64
"""Longest name of a patient or slide in UTF-8; a slide of TCGA with its UUID takes 60."""

PATIENT_DTYPE: Final = f"S{PATIENT_BYTES}"
"""Names of patients as fixed UTF-8; empty where unknown."""

_TILE_COLUMNS = (
    Column("image", "uint8", (256, 256, 3)),
    Column("instances", "int32", (256, 256), squeezes=True),
    Column("classes", "uint8", (256, 256), squeezes=True),
    Column("organ", ID_DTYPE),
    Column("tile_id", ID_DTYPE),
    Column("patient", PATIENT_DTYPE),
)
_FEATURE_COLUMNS = (
    Column("cls", "float32", ("views", "dim")),
    Column("tokens", "float16", ("views", "taps", "g", "g", "dim")),
)
_MEMBER_COLUMNS = (Column("fold", "int32"), Column("row", "int32"))
_NAME_COLUMNS = (Column("organ", ID_DTYPE), Column("tile_id", ID_DTYPE))

_ROW_COLUMN = Column(ROW_SHA256, "uint8", (SHA256_BYTES,))

TILES: Final = Format("cellvit-tiles", 3, (*_TILE_COLUMNS, _ROW_COLUMN), row_hashes=True)
FEATURES: Final = Format(
    "cellvit-features",
    2,
    (
        *_FEATURE_COLUMNS,
        Column("input_sha256", "uint8", (SHA256_BYTES,), unknown=True),
        _ROW_COLUMN,
    ),
    row_hashes=True,
)
FAMILY_TARGETS: Final = Format("cellvit-family-targets", 4, _TILE_COLUMNS + _MEMBER_COLUMNS)
FAMILY_FEATURES: Final = Format("cellvit-family-features", 3, _FEATURE_COLUMNS + _NAME_COLUMNS + _MEMBER_COLUMNS)
