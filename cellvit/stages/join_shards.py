"""Stage `join_shards`: feature stores of all shards of a fold -> the fold's feature store, as a view on them."""

import argparse
import logging
from contextlib import ExitStack
from pathlib import Path

from cellvit.contracts.stores import FEATURES
from cellvit.errors import StaleFileError
from cellvit.io.features import open_features, write_joined
from cellvit.io.hdf5 import Store
from cellvit.io.kept import forget
from cellvit.io.seals import said_by_store, write_seal
from cellvit.io.shards import SHARD

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input and output."""
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="feature stores of the shards, in order")
    parser.add_argument("--features", type=Path, required=True, help="feature store of the fold to write")
    parser.add_argument("--seal", type=Path, help="seal of that store to write")


def run(args: argparse.Namespace) -> None:
    """Write the fold's store over its shards.

    Raises:
        StaleFileError: The shards are not those of one fold, in order, from the same tiles, weights and settings.
    """
    with ExitStack() as stack:
        shards = [stack.enter_context(Store(path, FEATURES)) for path in args.shards]
        _check_belong_together(shards)
        write_joined(args.features, shards, shards[0].provenance)
        log.info("shards joined shards=%d tiles=%d", len(shards), sum(map(len, shards)))
    if args.seal:
        with open_features(args.features) as made:
            write_seal(args.seal, said_by_store(made))
    forget(args.features, but=tuple(args.shards))


def _check_belong_together(shards: list[Store]) -> None:
    first = shards[0]
    for number, shard in enumerate(shards, 1):
        expected, found = f"{number}/{len(shards)}", shard.attribute(SHARD)
        if found != expected or shard.provenance != first.provenance:
            what = f"shard {expected} is expected, found {found}"
            if found == expected:
                what = f"it and {first.path} come from other tiles, weights or settings"
            raise StaleFileError(f"{shard.path}: {what}. Extract it again:  snakemake -- {shard.path}")
