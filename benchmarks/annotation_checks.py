"""How often the checks of annotations and images are right on real tiles, as the tables of docs/checks.md.

    python benchmarks/annotation_checks.py [--tiles ../shared/real_tiles]

Misplaced annotation: the limit of the contrast is the middle between the lowest tile as it is and the highest displaced tile,
on every second patient; what it finds is counted on the other patients, and so is what the limit in use finds. Copies: the
similarity of each tile to its turned copy that was saved as JPEG of quality 80, and to the tiles of other patients.
"""

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float64

from cellvit.data.alignment import LIMIT, Annotated, likely_cause, nuclear_contrast
from cellvit.data.duplicates import copies_between, digests_of
from cellvit.taxonomy import TILE_MPP

SHIFT_PX: Final = 20


def _shift(down: int, right: int) -> Callable[[np.ndarray], np.ndarray]:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return lambda mask: cv2.warpAffine(mask.astype(np.float32), matrix, mask.shape, flags=cv2.INTER_NEAREST)


DISPLACED: Final[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "shifted right": _shift(0, SHIFT_PX),
    "shifted left": _shift(0, -SHIFT_PX),
    "shifted down": _shift(SHIFT_PX, 0),
    "shifted up": _shift(-SHIFT_PX, 0),
    "mirrored left to right": lambda mask: mask[:, ::-1],
    "mirrored top to bottom": lambda mask: mask[::-1],
    "transposed": lambda mask: mask.T,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, default=Path("../shared/real_tiles"), help="folder with manifest.csv")
    folder = parser.parse_args().tiles
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    tiles = [read_tile(folder, row["tile_id"]) for row in rows]
    names = np.array([f"{row['source']} {row['patient']}" for row in rows])
    patients = np.unique(names)
    print_alignment(tiles, np.isin(names, patients[::2]))
    print_causes(tiles)
    print_copies(tiles, names)


def read_tile(folder: Path, tile_id: str) -> Annotated:
    """A tile and its instances."""
    (path,) = (folder / "images").glob(f"{tile_id}.*")
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
    instances = cv2.imread(str(folder / "instances" / f"{tile_id}.png"), cv2.IMREAD_UNCHANGED).astype(np.int32)
    return Annotated(image, instances, np.ones(instances.shape, bool))


def contrasts(tiles: Sequence[Annotated], move: Callable[[np.ndarray], np.ndarray]) -> Float64[np.ndarray, " n"]:
    """Contrast of each tile with its annotation moved; NaN where it is not judged."""
    moved = (tile._replace(instances=np.ascontiguousarray(move(tile.instances), np.int32)) for tile in tiles)
    return np.array([nuclear_contrast(tile, mpp=TILE_MPP) for tile in moved])


def print_alignment(tiles: Sequence[Annotated], choosing: Bool[np.ndarray, " n"]) -> None:
    """Print how many tiles fail, by what was done to their annotation."""
    right = contrasts(tiles, lambda mask: mask)
    wrong = {name: contrasts(tiles, move) for name, move in DISPLACED.items()}
    lowest = np.nanmin(right[choosing])
    highest = max(np.nanmax(values[choosing]) for values in wrong.values())
    chosen = (lowest + highest) / 2
    print(f"Half of the patients: lowest as it is {lowest:.3f}, highest displaced {highest:.3f}: limit {chosen:.3f}\n")
    print(f"| annotation | judged of {(~choosing).sum()} | below {chosen:.3f} | below {LIMIT:g}, in use | median |")
    print("|---|--:|--:|--:|--:|")
    for name, values in ({"as it is": right} | wrong).items():
        judged = values[~choosing & ~np.isnan(values)]
        shares = " | ".join(f"{np.mean(judged < limit):.1%}" for limit in (chosen, LIMIT))
        print(f"| {name} | {len(judged)} | {shares} | {np.median(judged):.2f} |")
    print(
        f"\nAs it is, all {len(tiles)} tiles: {np.sum(right < LIMIT)} below {LIMIT:g}, {np.isnan(right).sum()} not judged"
    )


def print_causes(tiles: Sequence[Annotated]) -> None:
    """Print how often the displacement is named, tile by tile."""
    print("\n| annotation | named |\n|---|---|")
    for name, move in DISPLACED.items():
        said = [
            likely_cause([tile._replace(instances=np.ascontiguousarray(move(tile.instances), np.int32))], mpp=TILE_MPP)
            for tile in tiles[::10]
        ]
        common = max(set(said), key=said.count)
        print(f"| {name} | {said.count(common)} of {len(said)}: {common} |")


def print_copies(tiles: Sequence[Annotated], patients: np.ndarray) -> None:
    """Print the similarity of copies, and that of tiles of different patients."""
    digests = digests_of(tile.image for tile in tiles)
    copies = digests_of(turned_copy(tile.image, number % 8) for number, tile in enumerate(tiles))
    to_copies = [copy.similarity for copy in copies_between(digests, copies, similar=-1) if copy.first == copy.second]
    others = []
    for patient in np.unique(patients):
        own = patients == patient
        first, second = (digests_of(tiles[row].image for row in np.flatnonzero(rows)) for rows in (own, ~own))
        others += [copy.similarity for copy in copies_between(first, second, similar=-1)]
    print(f"\nCopies: {len(to_copies)} of {len(tiles)} are most similar to their tile, at least {min(to_copies):.3f}")
    print(f"Tiles of other patients: at most {max(others):.3f}")


def turned_copy(image: np.ndarray, orientation: int) -> np.ndarray:
    """One of the eight orientations, saved as JPEG of quality 80."""
    turned = np.rot90(image, orientation % 4)[:, :: -1 if orientation >= 4 else 1]
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(turned), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)


if __name__ == "__main__":
    main()
