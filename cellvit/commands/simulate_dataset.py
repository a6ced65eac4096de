"""Command `simulate_dataset`: write a small simulated data set, as a user has one.

Example: cellvit simulate_dataset data/demo_own
"""

import argparse
import sys
from pathlib import Path

from cellvit.data.simulate.own import write_own_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("folder", type=Path, help="folder to write; it must be empty, or made by this command")
    parser.add_argument("--images", type=int, default=12, help="number of images, two of each patient (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")


def run(args: argparse.Namespace) -> None:
    """Write the folder.

    Raises:
        ContractError: The folder has files that this command did not write.
    """
    write_own_data(args.folder, n_images=args.images, seed=args.seed)
    sys.stdout.write(f"{args.images} simulated images: {args.folder}\n")
