"""Time of a dry run of the official protocol: three splits, five families and the pooled control.

    python benchmarks/dry_run.py [--calls 5]

`snakemake -n` plans the whole graph in a temporary folder, beside a Snakemake that plans a file of one rule: what is above
that is ours. Calls take turns; the best of each counts (machines are shared). `--profile FILE` writes where one call spends
its time, for pstats.
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

GRAPH, ENGINE = "the official protocol", "a file of one rule"


def main() -> None:
    """Print the best time of each, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5, help="calls of each; the best counts")
    parser.add_argument("--profile", type=Path, help="write cProfile's figures of one call of the graph")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "protocol.yaml").write_text(PROTOCOL)
        (home / "one.smk").write_text(ONE_RULE)
        plans = {
            GRAPH: ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", "protocol.yaml"],
            ENGINE: ["--snakefile", "one.smk"],
        }
        if args.profile:
            run(plans[GRAPH], home, "-m", "cProfile", "-o", str(args.profile.resolve()))
        seconds = {name: [] for name in plans}
        for _ in range(args.calls):
            for name, arguments in plans.items():
                begun = time.perf_counter()
                said = run(arguments, home)
                seconds[name].append(time.perf_counter() - begun)
                if name == GRAPH:
                    jobs = re.findall(r"^total +(\d+)", said, re.MULTILINE)[-1]
    best = {name: min(times) for name, times in seconds.items()}
    print(f"{GRAPH} ({jobs} jobs)  {best[GRAPH]:.2f} s")
    print(f"{ENGINE}  {best[ENGINE]:.2f} s")
    print(f"ratio  {best[GRAPH] / best[ENGINE]:.2f}")


def run(arguments: list[str], home: Path, *profiler: str) -> str:
    """What a dry run with these arguments says."""
    command = [sys.executable, *(profiler or ("-W", "ignore")), "-m", "snakemake", *arguments, "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
