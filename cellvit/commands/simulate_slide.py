"""Command `simulate_slide`: write a small simulated slide (OME-TIFF).

Example: cellvit simulate_slide slide.ome.tif
"""

import argparse
import sys
from pathlib import Path

from cellvit.data.simulate.slide import SLIDE_PX, write_slide


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "slide", type=Path, metavar="SLIDE.ome.tif", help="file to write; an earlier simulation is replaced"
    )
    parser.add_argument("--organ", default="Colon", help="organ as PanNuke spells it (default: Colon)")
    width, height = SLIDE_PX
    parser.add_argument("--width", type=int, default=width, metavar="PX", help=f"width in px (default: {width})")
    parser.add_argument("--height", type=int, default=height, metavar="PX", help=f"height in px (default: {height})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")


def run(args: argparse.Namespace) -> None:
    """Write the slide.

    Raises:
        ContractError: The organ or the size cannot be simulated, or the file exists and is not a simulation.
    """
    write_slide(args.slide, args.organ, args.seed, width=args.width, height=args.height)
    sys.stdout.write(f"simulated slide of {args.width} x {args.height} px, {args.organ}: {args.slide}\n")
