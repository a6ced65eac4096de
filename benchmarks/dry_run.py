"""Time of a dry run of the official protocol: three splits, five families and the shared decoder.

    python benchmarks/dry_run.py [--calls 5]

`snakemake -n` plans the whole graph in a temporary folder; it is compared with a Snakemake that plans a file with one rule,
so that the difference is the time of this workflow. Both calls alternate, and the shortest time of each counts, because
other work on the machine only makes calls slower. `--profile FILE` writes a profile of one call, for pstats.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

PROTOCOL = """\
data: {root: null, simulated: {tiles_per_fold: 38}}
encoder: {preset: tiny-vit, weights: random}
"""

ONE_RULE = 'rule one:\n    output:\n        "one.txt"\n    shell:\n        "touch {output}"\n'

GRAPH, ENGINE = "the official protocol", "a file with one rule"


def main() -> None:
    """Print the shortest time of each, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5, help="calls of each; the shortest time counts")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile of one call of the graph to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "protocol.yaml").write_text(PROTOCOL)
        (folder / "one.smk").write_text(ONE_RULE)
        plans = {
            GRAPH: ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", "protocol.yaml"],
            ENGINE: ["--snakefile", "one.smk"],
        }
        if args.profile:
            dry_run(plans[GRAPH], folder, "-m", "cProfile", "-o", str(args.profile.resolve()))
        jobs, seconds = "", {plan: [] for plan in plans}
        for _ in range(args.calls):
            for plan, arguments in plans.items():
                start = time.perf_counter()
                output = dry_run(arguments, folder)
                seconds[plan].append(time.perf_counter() - start)
                if plan == GRAPH:
                    jobs = re.findall(r"^total +(\d+)", output, re.MULTILINE)[-1]
    graph, engine = (min(seconds[plan]) for plan in plans)
    print(f"{GRAPH} ({jobs} jobs)  {graph:.2f} s")
    print(f"{ENGINE}  {engine:.2f} s")
    print(f"ratio  {graph / engine:.2f}")


def dry_run(arguments: list[str], folder: Path, *profiler: str) -> str:
    """Output of a dry run with these arguments."""
    command = [sys.executable, *(profiler or ("-W", "ignore")), "-m", "snakemake", *arguments, "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
