"""Name the patients of the folds that ../shared/real_tiles/make_folds.py wrote, so that intervals sample patients.

    python benchmarks/real_patients.py data/real_tiles [--tiles ../shared/real_tiles]

The pixels of each tile identify its row in manifest.csv. patients.npy is written beside types.npy of each fold.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from cellvit.data.pannuke import fold_files

FOLDS = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help='folder with "Fold 1" to "Fold 3"')
    parser.add_argument("--tiles", type=Path, default=Path("../shared/real_tiles"), help="folder with manifest.csv")
    args = parser.parse_args()
    patient_of = patients_by_pixels(args.tiles)
    for fold in FOLDS:
        files = fold_files(args.root, fold)
        names = [patient_of[tile.astype(np.uint8).tobytes()] for tile in np.load(files.images, mmap_mode="r")]
        np.save(files.patients, np.array(names))
        print(f"{files.patients}: {len(names)} tiles of {len(set(names))} patients")


def patients_by_pixels(folder: Path) -> dict[bytes, str]:
    """Patient of each tile, by the bytes of its RGB pixels."""
    patient_of = {}
    with (folder / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            image = cv2.imread(str(next((folder / "images").glob(f"{row['tile_id']}.*"))))
            patient_of[cv2.cvtColor(image, cv2.COLOR_BGR2RGB).tobytes()] = f"{row['source']} {row['patient']}"
    return patient_of


if __name__ == "__main__":
    main()
