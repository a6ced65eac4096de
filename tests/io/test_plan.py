"""What a run would have for its jobs; tests/workflow/test_seeing.py asks real plans."""

from pathlib import Path

import pytest
from cellvit.workflow.plan import machine_of, planned

from cellvit.errors import CellvitError
from cellvit.workflow.timing_records import Machine


@pytest.mark.parametrize(
    ("arguments", "machine"),
    [
        pytest.param(["--cores", "3"], Machine(3, 1), id="default_profile"),
        pytest.param(["--cores", "3", "--resources", "gpu=2"], Machine(3, 2), id="command_line_over_profile"),
        pytest.param(["--cores", "8", "--workflow-profile", "profiles/workstation"], Machine(8, 2), id="workstation"),
        pytest.param(["--cores", "3", "--workflow-profile", "none"], Machine(3, None), id="no_profile"),
        pytest.param(["--executor", "slurm", "--jobs", "20"], None, id="cluster"),
    ],
)
def test_cores_and_gpus_are_those_of_the_profile_and_the_command_line(
    repository: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], machine: Machine | None
) -> None:
    monkeypatch.chdir(repository)

    assert machine_of(arguments) == machine


def test_what_snakemake_refuses_is_said_in_its_words(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)

    with pytest.raises(CellvitError, match="unrecognized arguments: --nonsense"):
        planned(["--nonsense"])
