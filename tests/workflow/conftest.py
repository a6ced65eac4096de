"""A small run of the whole graph through the real Snakemake, in a copy of the repository."""

from pathlib import Path

import pytest
from workshop import Workshop, make_workshop

from cellvit.taxonomy import DEFAULT_FAMILIES

ORGANS = {
    1: ["Colon", "Breast", "Colon", "Stomach", "Breast"],
    2: ["Colon", "Breast", "Stomach"],
    3: ["Colon", "Lung", "Breast", "Colon"],
}
"""Glandular and digestive everywhere, respiratory in the test fold alone, epidermal nowhere."""

PATIENTS = {3: ["p1", "p1", "p2", "p3"]}
"""The test fold alone names them."""

LEFT_OUT = DEFAULT_FAMILIES["urologic"]
"""Organs of the family that the settings remove."""

SETTINGS = f"""\
data: {{root: raw}}
families: {{urologic: null}}
left_out_organs: [{", ".join(LEFT_OUT)}]
splits: {{"2": null, "3": null}}
encoder: {{preset: tiny-vit, weights: random}}
organ_head: {{epochs: 5}}
decoder: {{widths: [16, 12, 8, 8, 8], stem_widths: [4, 8]}}
features: {{views: [identity, flip]}}
training: {{steps: 6, record_every: 3, validate_every: 3, batch_size: 2, learning_rate: 1.0e-3}}
watershed: {{np_threshold: [0.5], hv_threshold: [0.4, 0.5], min_object_px: [10]}}
"""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workshop:
    """The workshop before any run."""
    return make_workshop(tmp_path_factory.mktemp("workshop"), repository, SETTINGS, ORGANS, PATIENTS)


@pytest.fixture(scope="session")
def finished(workshop: Workshop) -> Workshop:
    """The workshop after one complete run; run.log is what it printed."""
    done = workshop.snakemake("--cores", "2")
    assert done.returncode == 0, done.stderr[-6000:]
    (workshop.home / "run.log").write_text(done.stderr)
    return workshop
