"""Stage `simulate_pannuke`: one fold where the rule expects it."""

import logging
from pathlib import Path

import pytest

from cellvit.config.data import SimulatedData
from cellvit.data.pannuke import fold_files, read_types
from cellvit.errors import SettingsError
from cellvit.stages.simulate_pannuke import Arguments, run


def arguments(root: Path, **changes: Path) -> Arguments:
    files = fold_files(root, 3)
    paths = {**files.by_name, "mark": files.mark, **changes}
    return Arguments(settings=SimulatedData(tiles_per_fold=2, seed=4), fold=3, **paths)


def test_the_stage_writes_the_fold_and_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(arguments(tmp_path))

    assert len(read_types(fold_files(tmp_path, 3))) == 2
    assert fold_files(tmp_path, 3).simulated
    assert "fold=3 tiles=2 seed=4" in caplog.text


def test_paths_outside_the_official_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--masks: expected .*Fold 3/masks/fold3/masks\.npy"):
        run(arguments(tmp_path, masks=tmp_path / "masks.npy"))
