"""How many examples the fuzz test tries, and the table of what came of them, for docs/reliability.md."""

from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "fuzz",
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("fuzz-long", settings.get_profile("fuzz"), derandomize=False, max_examples=100)

OUTCOMES = pytest.StashKey[dict[str, Counter[str]]]()
"""Number of damaged files by outcome, for each format."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = defaultdict(Counter)


@pytest.fixture
def outcomes(pytestconfig: pytest.Config) -> dict[str, Counter[str]]:
    return pytestconfig.stash[OUTCOMES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[OUTCOMES]
    if not found:
        return
    total = sum(found.values(), Counter())
    terminalreporter.section(f"{total.total()} damaged files of {len(found)} formats")
    for name, counts in (*sorted(found.items()), ("all", total)):
        shown = ", ".join(f"{outcome} {n}" for outcome, n in sorted(counts.items()))
        terminalreporter.line(f"{name}: {counts.total()} files: {shown}")
