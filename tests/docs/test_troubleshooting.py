"""The messages that the page quotes are those that users see."""

from pathlib import Path

import pytest

QUOTED = (
    "is a build without CUDA",
    "has no kernels",
    "slides of scanners are read with OpenSlide, which is not installed",
    "the Hugging Face hub refuses",
    "a pointer of Git LFS",
    "a web page",
    "an empty file",
    "identical_images",
    "binary_masks",
    "runs snakemake on this output folder",
    "the file does not state its resolution",
    "found another format, or a file of a slide without its other files",
)


@pytest.fixture(scope="module")
def source(repository: Path) -> str:
    files = [*(repository / "cellvit").rglob("*.py"), repository / "Snakefile"]
    return "\n".join(path.read_text() for path in files)


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_in_the_source_and_on_the_page(repository: Path, source: str, message: str) -> None:
    assert message in (repository / "docs" / "troubleshooting.md").read_text()
    assert message in source
