"""The results of a run of PanNuke beside published ones, as the tables of docs/pannuke.md.

    python benchmarks/records.py results

Values are means over the splits of the run, with the range of the splits in brackets where there are several. bPQ and mPQ are
PanNuke's own (Gamper et al. 2020, arXiv 2003.10778): means over organs of means over tiles, over all organs or over those of a
family; a row of one organ is the mean over its tiles; PQ of a class is the mean over the tiles that contain it. Each tile is
decoded by the decoder of its true family ("organ given"). The published values are those of the papers, on the official splits;
"unsure" marks what was read second-hand, and how the published values of families were averaged is not known. The program cannot
see whether a run used the official splits, so it names the splits that it found.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.evaluations import ORGAN_GIVEN
from cellvit.formats.summary import MEAN_SPLIT, read_summary
from cellvit.formats.tile_table import TileScores, read_tile_scores
from cellvit.metrics.ratio import mean_defined
from cellvit.taxonomy import ORGANS

PUBLISHED: Final = (
    ("HoVer-Net 2020 (trained)", 0.463, 0.660),
    ("StarDist, ResNet-50 (trained)", 0.480, 0.669),
    ("CPP-Net 2023 (trained)", 0.482, 0.677),
    ("CellViT-256 (trained)", 0.485, 0.670),
    ("CellViT-SAM-H (trained)", 0.498, 0.679),
    ("LKCell-L (trained)", 0.508, 0.685),
    ("CellViT++ with UNI (frozen; unsure)", 0.492, 0.664),
    ("CellViT++ with Virchow2 (frozen; unsure)", 0.493, 0.665),
    ("CellVTA, UNI with a CNN adapter (unsure)", 0.506, 0.668),
    ("PromptNucSeg-H (trained; unsure)", 0.512, 0.692),
    ("CFR-SAM-H (adapters; unsure)", 0.511, 0.696),
)
"""Model, mPQ and bPQ."""

OF_FAMILIES: Final = {
    "glandular": (0.497, 0.689),
    "digestive": (0.488, 0.660),
    "urologic": (0.524, 0.689),
    "respiratory": (0.477, 0.687),
    "epidermal": (0.463, 0.656),
}
"""mPQ and bPQ of CellViT-SAM-H on the organs of each family."""

OF_CLASSES: Final = {
    "neoplastic": 0.581,
    "inflammatory": 0.417,
    "connective": 0.423,
    "dead": 0.149,
    "epithelial": 0.583,
}
"""PQ of CellViT-SAM-H."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="output folder of a finished run")
    args = parser.parse_args()
    scores = scores_of_splits(args.results)
    print(f"Splits of the run: {', '.join(scores) or 'none with test tiles'}\n")
    print_tables(values_of_splits(args.results), scores)


def print_tables(values: Mapping[tuple[str, str], Sequence[float]], scores: Mapping[str, TileScores]) -> None:
    """Print the tables of models, families, classes and organs; what the run does not have is empty."""
    models = [(model, digits(mpq), digits(bpq)) for model, mpq, bpq in PUBLISHED]
    print_table(("model", "mPQ", "bPQ"), [*models, ("**this pipeline**", *shown(values, ORGAN_GIVEN, ("mpq", "bpq")))])
    families = [(name, *map(digits, OF_FAMILIES[name]), *shown(values, name, ("mpq", "bpq"))) for name in OF_FAMILIES]
    print_table(
        ("family", "mPQ, CellViT-SAM-H", "bPQ, CellViT-SAM-H", "mPQ, this pipeline", "bPQ, this pipeline"), families
    )
    classes = [(name, digits(OF_CLASSES[name]), *shown(values, ORGAN_GIVEN, (f"pq_{name}",))) for name in OF_CLASSES]
    print_table(("class", "PQ, CellViT-SAM-H", "PQ, this pipeline"), classes)
    organs = [(organ, *(of_organ(scores.values(), organ, name) for name in ("mpq", "bpq"))) for organ in ORGANS]
    print_table(("organ", "mPQ, this pipeline", "bPQ, this pipeline"), organs)


def values_of_splits(results: Path) -> dict[tuple[str, str], list[float]]:
    """Values of each family and metric, one for each split of the run."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in read_summary(results / "summary.csv"):
        if row.split != MEAN_SPLIT:
            values.setdefault((row.family, row.metric), []).append(row.value)
    return values


def scores_of_splits(results: Path) -> dict[str, TileScores]:
    """Scores of the test tiles of each split, by the decoder of their true family."""
    tables = sorted((results / "evaluation").glob("split*/routed_tiles.csv"))
    systems = {path.parent.name.removeprefix("split"): read_tile_scores(path, COLUMNS) for path in tables}
    return {split: scores[ORGAN_GIVEN] for split, scores in systems.items() if ORGAN_GIVEN in scores}


def shown(values: Mapping[tuple[str, str], Sequence[float]], family: str, metrics: Sequence[str]) -> list[str]:
    """Mean and range over the splits of each metric of a family."""
    return [mean_and_range(values.get((family, metric), ())) for metric in metrics]


def of_organ(splits: Iterable[TileScores], organ: str, metric: str) -> str:
    """Mean and range over the splits of the mean over the tiles of an organ."""
    return mean_and_range([mean_defined(one.column(metric)[one.organs == organ]) for one in splits])


def mean_and_range(values: Sequence[float]) -> str:
    """The mean over splits, undefined ones left out; an empty cell without any."""
    defined = [value for value in values if not np.isnan(value)]
    if len(defined) < 2:
        return "".join(map(digits, defined))
    return f"{digits(float(np.mean(defined)))} ({digits(min(defined))} to {digits(max(defined))})"


def digits(value: float) -> str:
    """Three digits, without the zero in front."""
    return f"{value:.3f}".lstrip("0")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of Markdown and an empty line."""
    for cells in (columns, ["---"] + ["--:"] * (len(columns) - 1), *rows):
        print(f"| {' | '.join(cells)} |")
    print()


if __name__ == "__main__":
    main()
