import importlib
import subprocess
import sys

import pytest

from cellvit.models.timm_import import import_timm

FAILS_ONCE = """
import importlib, sys
original, failed = importlib.import_module, []
def failing_once(name, package=None):
    if name == "timm" and not failed:
        failed.append(name)
        sys.modules["torchvision.half_loaded"] = sys
        raise RuntimeError("operator torchvision::nms does not exist")
    return original(name, package)
importlib.import_module = failing_once
from cellvit.models.timm_import import import_timm
import_timm()
assert failed and "torchvision.half_loaded" not in sys.modules
"""


def test_timm_is_imported_whatever_torchvision_is_installed() -> None:
    timm = import_timm()

    assert timm.is_model("vit_giant_patch14_reg4_dinov2")
    assert import_timm() is timm


def test_the_import_is_repeated_without_partly_loaded_modules() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FAILS_ONCE], check=True)


def test_any_other_failure_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(name: str) -> None:
        raise RuntimeError(f"{name} is broken otherwise")

    monkeypatch.setattr(importlib, "import_module", failing)

    with pytest.raises(RuntimeError, match="timm is broken otherwise"):
        import_timm()
