"""Two runs compared on the test tiles of each source, as the table of docs/results.md.

    python benchmarks/by_source.py results/real_tiles_by_source results/random --splits both consep monuseg

Every row has the tiles of one split and source, decoded by the decoder `--family` of each run: AJI (mean over tiles), bPQ (mean
over tiles, then organs) and the NT accuracy on nuclei of both runs, each with the difference (first minus second), paired by
tile, with its 95 % interval over patients. Seen or unseen: whether the decoder of the first run was trained on tiles of the
source.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from trainings import difference_cell, segmentation_means

from cellvit.evaluation.comparison import measured
from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.values import differences, paired
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.tile_table import TileScores, read_tile_scores

COLUMN_NAMES = ("split", "tested on", "tiles", "AJI", "difference", "bPQ", "difference", "NT accuracy", "difference")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="output folder of a run")
    parser.add_argument("second", type=Path, help="output folder of a run on the same tiles")
    parser.add_argument("--splits", nargs="+", default=["1"], help="splits that both runs have")
    parser.add_argument("--family", default="all", help="decoder to compare; default: the shared decoder")
    args = parser.parse_args()
    print(f"| {' | '.join(COLUMN_NAMES)} |\n{'|---' * len(COLUMN_NAMES)}|")
    for split in args.splits:
        of_sources = read_document(args.first / f"evaluation/split{split}/{args.family}.json", FamilyEvaluation).sources
        known = of_sources["decoder"].trained_on if "decoder" in of_sources else {}
        first, second = paired(*(scores_of(run, split, args.family) for run in (args.first, args.second)))
        sources = np.array(first.text("source"), np.str_)
        for source in np.unique(sources):
            tested_on = f"{source}, {known[source]}" if source in known else "tiles without a source"
            cells = cells_of(first.where(sources == source), second.where(sources == source))
            print(f"| {' | '.join((split, tested_on, *cells))} |")


def scores_of(run: Path, split: str, family: str) -> TileScores:
    """Scores of the test tiles by the decoder of a family."""
    return read_tile_scores(run / f"evaluation/split{split}/{family}_tiles.csv", COLUMNS)["decoder"]


def cells_of(first: TileScores, second: TileScores) -> Iterator[str]:
    """Number of tiles, the values of both runs, and their differences."""
    means, change = [segmentation_means(one) for one in (first, second)], differences(first, {"second": second})
    yield str(len(first))
    for metric in ("aji", "bpq"):
        yield " and ".join(f"{of_run[metric]:.3f}" for of_run in means)
        yield difference_cell(change[f"{metric}_minus_second"])
    typing = measured(second, first).get("nt_accuracy")  # none without scores of maps
    yield f"{typing.b:.3f} and {typing.a:.3f}" if typing else ""
    yield difference_cell(typing.difference) if typing else ""


if __name__ == "__main__":
    main()
