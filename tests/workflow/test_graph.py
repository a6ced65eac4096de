"""The graph of docs/how_it_works.md is that of the rules."""

import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow

Edges = set[tuple[str, str]]

PROTOCOL = """\
data: {root: null, simulated: {tiles_per_fold: 10}}
encoder: {preset: tiny-vit, weights: random}
"""


@pytest.fixture(scope="module")
def drawn_by_snakemake(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Edges:
    """Edges between rules, the target left out."""
    home = tmp_path_factory.mktemp("graph")
    (home / "protocol.yaml").write_text(PROTOCOL)
    command = ["snakemake", "--snakefile", str(repository / "Snakefile"), "--configfile", "protocol.yaml"]
    done = subprocess.run([*command, "--rulegraph", "mermaid-js"], cwd=home, capture_output=True, text=True, check=True)
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", done.stdout, re.MULTILINE))
    edges = {(names[a], names[b]) for a, b in re.findall(r"^\s*(id\d+) --> (id\d+)", done.stdout, re.MULTILINE)}
    return {edge for edge in edges if "report" not in edge}


def test_the_documented_graph_is_that_of_the_rules(repository: Path, drawn_by_snakemake: Edges) -> None:
    text = (repository / "docs" / "how_it_works.md").read_text().split("```mermaid")[1].split("```")[0]

    documented = set(re.findall(r"^ +(\w+) --> (\w+)$", text, re.MULTILINE))

    assert documented == drawn_by_snakemake
