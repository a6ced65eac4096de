"""Stage `publish_checkpoint`: what a finished training wrote -> the checkpoint in its place, with history and seal.

A training that fails never gets here: the checkpoint of the last one stays in its place.
"""

import argparse
import logging
import shutil
from pathlib import Path

from cellvit.io.atomic import replacing_together
from cellvit.io.headers import checkpoint_hash, read_header
from cellvit.io.seals import said_by_checkpoint, write_seal
from cellvit.io.written import check_as_written, check_table

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input and output."""
    parser.add_argument("--trained", type=Path, required=True, help="checkpoint as its training wrote it")
    parser.add_argument("--trained-history", type=Path, required=True, help="CSV as the training wrote it")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--history", type=Path, required=True, help="CSV to write: a row an epoch")
    parser.add_argument("--seal", type=Path, required=True, help="seal of the checkpoint to write")


def run(args: argparse.Namespace) -> None:
    """Copy both files into their place and seal the checkpoint.

    Raises:
        ContractError: The training wrote no checkpoint of this project.
        IntegrityError: One of the files was changed after the training wrote it.
    """
    header = read_header(args.trained)
    check_as_written(args.trained, checkpoint_hash(args.trained))
    check_table(args.trained_history, header.tables, "history")
    said = said_by_checkpoint(args.trained, header)
    with replacing_together(args.checkpoint, args.history) as (checkpoint, history):
        shutil.copyfile(args.trained, checkpoint)
        shutil.copyfile(args.trained_history, history)
    write_seal(args.seal, said)
    log.info("published checkpoint=%s status=%s epoch=%d", args.checkpoint, header.status, header.epoch)
