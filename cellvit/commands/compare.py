"""Command `compare`: compare two runs tile by tile, or show how much several seeds differ.

Example: cellvit compare results results_weight2 --out comparison
"""

import argparse
import os
import sys
from pathlib import Path

from cellvit.errors import SettingsError
from cellvit.evaluation.comparison import compare
from cellvit.evaluation.comparison_text import comparison_text, spread_text
from cellvit.evaluation.finished_run import FinishedRun, read_run
from cellvit.evaluation.seed_spread import spread
from cellvit.formats.comparison import ComparedRow, SpreadRow, write_rows
from cellvit.formats.digests import sha256_of
from cellvit.formats.page import write_page
from cellvit.formats.provenance import Provenance
from cellvit.report.comparison import render_comparison

_EPILOG = """\
examples:
  cellvit compare results results_weight2
      B - A of every split, family and metric, with intervals; writes comparison/compare.csv and comparison/index.html
  cellvit compare --seeds results_seed0 results_seed1 results_seed2
      mean, standard deviation and range of every value; writes comparison/seeds.csv

Each RUN is the output folder of a finished run, or an archive of one. Test tiles must be the same in all of them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="output folders: A and B, or one for each seed"
    )
    parser.add_argument("--seeds", action="store_true", help="the runs differ in the seed alone: show their spread")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write to (default: comparison)")


def run(args: argparse.Namespace) -> None:
    """Print the comparison, and write it as a table and a page.

    Raises:
        SettingsError: The number of runs is wrong, or runs of several seeds differ in other settings.
        ContractError: The test tiles of the runs differ.
    """
    runs = [read_run(folder) for folder in args.runs]
    if args.seeds:
        _spread(runs, args.out)
    elif len(runs) == 2:
        _compare(runs[0], runs[1], args.out)
    else:
        raise SettingsError(
            f"expected two runs to compare, found {len(runs)}. For several seeds: cellvit compare --seeds"
        )


def _compare(a: FinishedRun, b: FinishedRun, out: Path) -> None:
    comparison, names, provenance = compare(a, b), (str(a.folder), str(b.folder)), _provenance([a, b], out)
    write_rows(out / "compare.csv", ComparedRow, comparison.rows)
    write_page(out / "index.html", render_comparison(comparison, names, provenance.marks), provenance)
    sys.stdout.write(comparison_text(comparison, names, provenance.marks))
    sys.stdout.write(f"\nAll systems: {out / 'compare.csv'}, {out / 'index.html'}\n")


def _spread(runs: list[FinishedRun], out: Path) -> None:
    rows = spread(runs)
    write_rows(out / "seeds.csv", SpreadRow, rows)
    sys.stdout.write(spread_text(rows, [str(one.folder) for one in runs]))
    sys.stdout.write(f"\nAll values: {out / 'seeds.csv'}\n")


def _provenance(runs: list[FinishedRun], out: Path) -> Provenance:
    """Digests of the reports, which name all that the runs were made from; the marks of any run hold for both."""
    return Provenance(
        made_from={os.path.relpath(one.page, out): sha256_of(one.page) for one in runs},
        simulated=any(one.provenance.simulated for one in runs),
        encoder_mark="; ".join(dict.fromkeys(mark for one in runs if (mark := one.provenance.encoder_mark))),
    )
