"""A user's data set as its folder describes it, without opening an image: Snakemake asks while it builds the graph."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from cellvit.data.annotations.options import Kind, Options, Place
from cellvit.errors import MissingInputError
from cellvit.formats.dataset import DataSet
from cellvit.formats.own_description import DESCRIPTION, REFUSED, OwnDescription, read_description
from cellvit.formats.own_tiles import TABLE, OwnTile, read_own_tiles

_SHOWN: Final = 10
"""Missing files that a message lists; the others are counted."""


@dataclass(frozen=True, slots=True)
class OwnData:
    """A folder of annotated images, with its description and the table of its images."""

    root: Path
    description: OwnDescription
    rows: tuple[OwnTile, ...]

    @property
    def organs(self) -> tuple[str, ...]:
        """Organs of the images, sorted; empty if they are not known."""
        return tuple(sorted({row.organ for row in self.rows} - {""}))

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds that tiles.csv gives; empty if they are still to be made."""
        return tuple(sorted({row.fold for row in self.rows if row.fold is not None}))

    @property
    def kind(self) -> Kind | None:
        """Format of the annotation files; None if each file is to be looked at."""
        return next((kind for kind in get_args(Kind) if kind == self.description.annotations.kind), None)

    @property
    def options(self) -> Options:
        """How the annotation files are read."""
        stated = self.description.annotations
        return Options(
            class_file=stated.class_file,
            value_ranges=tuple((name, first, last) for name, (first, last) in stated.value_ranges.items()),
            region_classes=stated.region_classes,
            not_annotated=stated.not_annotated,
            not_annotated_file=stated.not_annotated_file,
            min_score=stated.min_score,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read, each once: the description, the table, images, annotations and files of classes."""
        return tuple(dict.fromkeys(self._files()))

    def class_file(self, row: OwnTile) -> Path | None:
        """File with the classes of a label map; None if the description names none, and for a folder of masks."""
        pattern, annotation = self.description.annotations.class_file, self.root / row.annotation
        if not pattern or annotation.is_dir():
            return None
        return annotation.parent / pattern.replace("{name}", annotation.stem)

    def options_of(self, row: OwnTile) -> Options:
        """How the annotation of an image is read: without a file of classes where it does not exist.

        Such files are missed on purpose: dataset.yaml says what nuclei without a class become.
        """
        file = self.class_file(row)
        return self.options if file is None or file.exists() else replace(self.options, class_file="")

    def dataset(self, mpp: float) -> DataSet:
        """The description of tiles that are cut from the images at `mpp`."""
        return self.description.dataset(self.organs, mpp)

    def place(self, row: OwnTile) -> Place:
        """The position of the annotation of an image in its file; COCO names images by their file, with or without folders."""
        member = row.member or (Path(row.image).name if self.kind == "coco" else "")
        return Place(member=member, offset=(row.x, row.y))

    def _files(self) -> Iterator[Path]:
        yield from (self.root / DESCRIPTION, self.root / TABLE)
        for row in self.rows:
            annotation = self.root / row.annotation
            yield self.root / row.image
            if annotation.is_dir():
                yield from sorted(file for file in annotation.iterdir() if file.is_file())
                continue
            yield annotation
            if (file := self.class_file(row)) is not None and file.exists():
                yield file


def is_own_data(root: Path) -> bool:
    """True for a folder that describes itself; else it is expected to have PanNuke's layout."""
    return (root / DESCRIPTION).is_file()


def read_own_data(root: Path) -> OwnData:
    """Read dataset.yaml and tiles.csv.

    Raises:
        MissingInputError: One of them, or a file that tiles.csv names, does not exist.
        ContractError: One of them is not valid, or a field of the description is still open.
    """
    description = read_description(root / DESCRIPTION, kinds=get_args(Kind))
    own = OwnData(root, description, read_own_tiles(root / TABLE))
    _check_class_files(own)
    return own


def _check_class_files(own: OwnData) -> None:
    """Files of classes must exist, unless dataset.yaml says what nuclei without a class become."""
    if own.description.unlabelled != REFUSED:
        return
    files = ((row, own.class_file(row)) for row in own.rows)
    missing = [f"line {row.line}: {file}" for row, file in files if file is not None and not file.exists()]
    if missing:
        shown = "\n  ".join(missing[:_SHOWN]) + (
            f"\n  and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        )
        raise MissingInputError(
            f"{own.root / TABLE}: {len(missing)} of the files with the classes of its images do not exist:\n  {shown}\n"
            f"Fix: correct annotations.class_file in {own.root / DESCRIPTION}, or say there in `unlabelled` what nuclei "
            "without a class become."
        )
