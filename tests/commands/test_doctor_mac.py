"""What doctor says of the GPU of a Mac."""

import pytest
import torch

from cellvit.commands.checks.machine import check_gpu
from cellvit.config.settings import Settings


@pytest.mark.parametrize(("available", "state"), [(True, "ok"), (False, "fault")])
def test_the_gpu_of_a_mac_is_checked_where_the_settings_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, available: bool, state: str
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)

    check = check_gpu(Settings(device="mps"))

    assert (check.topic, check.state) == ("gpu", state)
    assert ("Metal" in check.found) != available
    assert bool(check.fix) != available
