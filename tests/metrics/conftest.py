"""The reference metrics, and small literal maps shared by the tests of cellvit.metrics."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """tests/reference/metrics_reference.py, loaded by its path (tests are no package)."""
    path = Path(__file__).parents[1] / "reference" / "metrics_reference.py"
    spec = importlib.util.spec_from_file_location("metrics_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
