from pathlib import Path

import yaml


def test_the_workstation_profile_is_the_default_one_with_more_gpus_and_a_bound_on_memory(repository: Path) -> None:
    default, workstation = (
        yaml.safe_load((repository / "profiles" / name / "config.yaml").read_text())
        for name in ("default", "workstation")
    )

    resources = workstation["resources"]

    assert set(resources) == {*default["resources"], "mem_mb"}
    assert resources["gpu"] > 1
    assert {**workstation, "resources": default["resources"]} == default
