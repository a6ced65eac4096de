"""One workshop for the tests of the rows of docs/rebuilds.md.

Each test starts where nothing is to be done, changes one thing, runs, and leaves a run with nothing to be done; so they hold in any
order, but not side by side.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rebuilding import ORGANS, SETTINGS
from workshop import Workshop, make_workshop


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workshop:
    """The workshop after its first run."""
    workshop = make_workshop(tmp_path_factory.mktemp("rebuilds"), repository, yaml.safe_dump(SETTINGS), ORGANS)
    workshop.ran()
    return workshop


@pytest.fixture
def made(whole: Workshop) -> Iterator[Workshop]:
    """The workshop with nothing to be done, before and after."""
    assert not whole.planned()
    yield whole
    assert not whole.planned()
