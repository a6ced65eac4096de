"""Write the tiles of ../shared/real_tiles as folds in PanNuke's layout, with the patient and the source of each tile.

    python benchmarks/real_folds.py data/real_tiles                          # folds 1 to 3, by patient
    python benchmarks/real_folds.py data/real_tiles_by_source --by source    # folds 1 to 3: CoNSeP, 4 to 6: MoNuSeg

Tiles of one patient stay in one fold. By patient, the folds have the same tiles in the same order as those of make_folds.py
in the folder of the tiles: the patients of each organ are dealt to the folds in turn. By source, the patients of each source
are dealt in turn, organ after organ, so that the three folds of a source have about as many patients each. Nuclei of MoNuSeg
have no classes and are written as neoplastic: mPQ and NT accuracy mean nothing on its tiles.
"""

import argparse
import csv
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16

from cellvit.data.pannuke import fold_files
from cellvit.taxonomy import BACKGROUND_CHANNEL, TILE_PX

By = Literal["patient", "source"]
Row = dict[str, str]
"""A row of manifest.csv: tile_id, source, organ, patient, has_classes."""

N_FOLDS: Final = 3
"""Folds by patient, and folds of each source."""

FIRST_FOLD: Final = {"CoNSeP": 1, "MoNuSeg": 1 + N_FOLDS}
"""First fold of each source, where folds are by source."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help='folder to write "Fold 1", "Fold 2" ... into')
    parser.add_argument("--by", choices=("patient", "source"), default="patient", help="what the folds are made by")
    parser.add_argument("--tiles", type=Path, default=Path("../shared/real_tiles"), help="folder with manifest.csv")
    args = parser.parse_args()
    with (args.tiles / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    folds = folds_of(rows, args.by)
    for fold in sorted(set(folds)):
        members = [row for row, found in zip(rows, folds, strict=True) if found == fold]
        write_fold(args.out, fold, args.tiles, members)
        by_source = Counter(row["source"] for row in members)
        patients = {patient_of(row) for row in members}
        print(f"fold {fold}: {len(members)} tiles of {len(patients)} patients, {dict(by_source)}")


def folds_of(rows: Sequence[Row], by: By) -> list[int]:
    """Fold of each tile; tiles of one patient and organ are in one fold."""
    fold_of: dict[tuple[str, str], int] = {}
    dealt: Counter[str] = Counter()
    in_turn = sorted(rows, key=lambda row: zlib.crc32(row["patient"].encode()))
    for row in in_turn if by == "patient" else sorted(in_turn, key=lambda row: row["organ"]):
        key = row["organ"], patient_of(row)
        if key not in fold_of:
            pile, first = (row["organ"], 1) if by == "patient" else (row["source"], FIRST_FOLD[row["source"]])
            fold_of[key] = first + dealt[pile] % N_FOLDS
            dealt[pile] += 1
    return [fold_of[row["organ"], patient_of(row)] for row in rows]


def patient_of(row: Row) -> str:
    """Name of a patient that no patient of another source has."""
    return f"{row['source']} {row['patient']}"


def write_fold(root: Path, fold: int, tiles: Path, rows: Sequence[Row]) -> None:
    """Write the images, masks and names of a fold."""
    files = fold_files(root, fold)
    for path in files.by_name.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    np.save(files.images, np.stack([image_of(tiles, row) for row in rows]))
    np.save(files.masks, np.stack([masks_of(tiles, row) for row in rows]))
    np.save(files.types, np.array([row["organ"] for row in rows]))
    np.save(files.images.with_name("patients.npy"), np.array([patient_of(row) for row in rows]))
    np.save(files.images.with_name("sources.npy"), np.array([row["source"] for row in rows]))


def image_of(tiles: Path, row: Row) -> UInt8[np.ndarray, "256 256 3"]:
    """RGB, 0..255."""
    (path,) = (tiles / "images").glob(f"{row['tile_id']}.*")
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)


def masks_of(tiles: Path, row: Row) -> UInt16[np.ndarray, "256 256 6"]:
    """Instance ids in the channel of their class, which is the first one for tiles without classes; then the background."""
    name = f"{row['tile_id']}.png"
    instances = cv2.imread(str(tiles / "instances" / name), cv2.IMREAD_UNCHANGED)
    classes = np.ones_like(instances)
    if row["has_classes"] == "1":
        classes = cv2.imread(str(tiles / "classes" / name), cv2.IMREAD_UNCHANGED)
    masks = np.zeros((TILE_PX, TILE_PX, BACKGROUND_CHANNEL + 1), np.uint16)
    for channel in range(BACKGROUND_CHANNEL):
        masks[..., channel] = np.where(classes == channel + 1, instances, 0)
    masks[..., BACKGROUND_CHANNEL] = ~masks[..., :BACKGROUND_CHANNEL].any(axis=-1)
    return masks


if __name__ == "__main__":
    main()
