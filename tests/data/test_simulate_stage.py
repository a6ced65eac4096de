"""Stage `simulate_pannuke`: options as the rule gives them."""

import argparse
import logging
from pathlib import Path

import pytest

from cellvit.config.data import SimulatedData
from cellvit.data.pannuke import fold_files, read_types
from cellvit.stages import simulate_pannuke


def test_stage_writes_the_fold_and_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parser = argparse.ArgumentParser()
    simulate_pannuke.add_arguments(parser)
    settings = SimulatedData(tiles_per_fold=2, seed=4).model_dump_json()

    with caplog.at_level(logging.INFO):
        simulate_pannuke.run(parser.parse_args(["--settings", settings, "--root", str(tmp_path), "--fold", "3"]))

    assert len(read_types(fold_files(tmp_path, 3))) == 2
    assert "fold=3 tiles=2 seed=4" in caplog.text
