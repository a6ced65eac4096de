"""The workflow is used as a module of another one."""

import os
import subprocess
from pathlib import Path

import pytest

OTHER = """\
module cellvit:
    snakefile: "{repository}/Snakefile"
    config: {{"data": {{"root": None, "simulated": {{"tiles_per_fold": 2}}}}, "results": "theirs"}}

use rule * from cellvit as cellvit_*

rule theirs:
    default_target: True
    input: "theirs/tiles/fold1.h5"
    output: "done.txt"
    shell: "echo used {{input}} > {{output}}"
"""


@pytest.mark.workflow
@pytest.mark.slow
def test_another_workflow_uses_the_rules_and_runs_a_step(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "Snakefile").write_text(OTHER.format(repository=repository))

    done = subprocess.run(
        ["snakemake", "--cores", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "done.txt").read_text() == "used theirs/tiles/fold1.h5\n"
    assert "cellvit_prepare_fold" in done.stdout + done.stderr
