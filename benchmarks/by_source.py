"""Two runs compared on the test tiles of each source, as the table of docs/results.md.

    python benchmarks/by_source.py results/real_tiles_by_source results/random --splits both consep monuseg

Every row has the test tiles of one split and source, decoded by the decoder `--family` of each run: AJI (mean over tiles), bPQ
(mean over tiles, then organs) and the NT accuracy on nuclei of both runs, each with the difference (first minus second), paired
by tile, with its 95 % interval over patients. Splits that are joined by a plus sign (consep+consep_2+consep_3) are one row: they
must test different tiles. Runs that are joined by a plus sign (results/seed0+results/seed1) are one: their scores are averaged on each
tile, so that less of a difference is the chance of one training. Seen or unseen: whether the decoder of the first run was
trained on tiles of the source.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from trainings import difference_cell, segmentation_means

from cellvit.errors import ContractError
from cellvit.evaluation.comparison import measured
from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.values import differences, paired
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.tile_table import TileScores, read_tile_scores

COLUMN_NAMES = ("split", "tested on", "tiles", "AJI", "difference", "bPQ", "difference", "NT accuracy", "difference")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=runs_of, help="output folder of a run, or of several, joined by +")
    parser.add_argument("second", type=runs_of, help="the same of a run on the same tiles")
    parser.add_argument("--splits", nargs="+", default=["1"], help="splits that both runs have")
    parser.add_argument("--family", default="all", help="decoder to compare; default: the shared decoder")
    args = parser.parse_args()
    print(f"| {' | '.join(COLUMN_NAMES)} |\n{'|---' * len(COLUMN_NAMES)}|")
    for row in args.splits:
        splits = row.split("+")
        sides = ([scores_of(run, splits, args.family) for run in runs] for runs in (args.first, args.second))
        first, second = paired(*(mean_scores(side) for side in sides))
        sources = np.array(first.text("source"), np.str_)
        for source in np.unique(sources):
            states = sorted({state_of(args.first[0], split, args.family, source) for split in splits})
            tested_on = f"{source}, {' or '.join(states)}" if source else "tiles without a source"
            cells = cells_of(first.where(sources == source), second.where(sources == source))
            print(f"| {' | '.join((row, tested_on, *cells))} |")


def runs_of(argument: str) -> list[Path]:
    """Output folders that are joined by a plus sign."""
    return [Path(run) for run in argument.split("+")]


def state_of(run: Path, split: str, family: str, source: str) -> str:
    """Whether the decoder was trained on tiles of a source: seen, unseen or unknown."""
    evaluation = read_document(run / f"evaluation/split{split}/{family}.json", FamilyEvaluation)
    return evaluation.sources["decoder"].trained_on[source] if "decoder" in evaluation.sources else "unknown"


def scores_of(run: Path, splits: Sequence[str], family: str) -> TileScores:
    """Scores of the test tiles of these splits by the decoders of a family, each of its split."""
    tables = (run / f"evaluation/split{split}/{family}_tiles.csv" for split in splits)
    return reduce(add, (read_tile_scores(table, COLUMNS)["decoder"] for table in tables))


def mean_scores(of_runs: Sequence[TileScores]) -> TileScores:
    """The mean of every score of a tile over runs that test the same tiles."""
    first, *others = of_runs
    for other in others:
        if other.text("tile_id") != first.text("tile_id"):
            raise ContractError("runs that are averaged: expected the same test tiles in all of them, found others")
    columns = list(first.columns)
    table = first.table.copy()
    table[columns] = sum(one.table[columns].to_numpy() for one in of_runs) / len(of_runs)
    return TileScores(table)


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
