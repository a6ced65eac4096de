"""Command `compare`: compare two runs tile by tile.

Example: cellvit compare results results_weight2 --out comparison
"""

import argparse
import os
import sys
from pathlib import Path

from cellvit.evaluation.comparison import compare
from cellvit.evaluation.comparison_text import comparison_text
from cellvit.evaluation.finished_run import FinishedRun, read_run
from cellvit.formats.comparison import write_rows
from cellvit.formats.digests import sha256_of
from cellvit.formats.page import write_page
from cellvit.formats.provenance import Provenance
from cellvit.report.comparison import render_comparison

_EPILOG = """\
examples:
  cellvit compare results results_weight2
      B - A of every split, family and metric, with intervals; writes comparison/compare.csv and comparison/index.html

Each RUN is the output folder of a finished run, or an archive of one. Test tiles must be the same in both.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("a", type=Path, metavar="RUN_A", help="output folder of a finished run")
    parser.add_argument("b", type=Path, metavar="RUN_B", help="output folder of the run to compare with it")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write to (default: comparison)")


def run(args: argparse.Namespace) -> None:
    """Print the comparison, and write it as a table and a page.

    Raises:
        ContractError: The test tiles of the runs differ.
    """
    a, b, out = read_run(args.a), read_run(args.b), args.out
    comparison, names, provenance = compare(a, b), (str(a.folder), str(b.folder)), _provenance([a, b], out)
    write_rows(out / "compare.csv", comparison.rows)
    write_page(out / "index.html", render_comparison(comparison, names, provenance.marks), provenance)
    sys.stdout.write(comparison_text(comparison, names, provenance.marks))
    sys.stdout.write(f"\nAll systems: {out / 'compare.csv'}, {out / 'index.html'}\n")


def _provenance(runs: list[FinishedRun], out: Path) -> Provenance:
    """Digests of the reports, which name all that the runs were made from; the marks of any run hold for both."""
    return Provenance(
        made_from={os.path.relpath(one.page, out): sha256_of(one.page) for one in runs},
        simulated=any(one.provenance.simulated for one in runs),
        encoder_mark="; ".join(dict.fromkeys(mark for one in runs if (mark := one.provenance.encoder_mark))),
    )
