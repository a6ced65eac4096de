"""Links of README and documentation lead somewhere, on GitHub and on the site; no network is used."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCED = re.compile(r"```.*?```", re.DOTALL)
NAMED_PAGE = re.compile(r"\bdocs/(?:decisions/)?[\w-]+\.md")
NAMING = ("cellvit", "benchmarks", "rules", "profiles", "tests")


def pages(repository: Path) -> list[Path]:
    return [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{page.name}: {link}"


def test_every_relative_link_and_anchor_resolves(repository: Path) -> None:
    broken = [link for page in pages(repository) for link in broken_links(page)]

    assert broken == []


def test_a_broken_link_and_a_missing_anchor_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `thing`: here\n[a](page.md#one-thing-here) [b](page.md#two) [c](none.md)\n")

    assert list(broken_links(page)) == ["page.md: page.md#two", "page.md: none.md"]


def test_every_page_that_the_code_names_exists(repository: Path) -> None:
    files = [
        path
        for folder in NAMING
        for path in (repository / folder).rglob("*")
        if path.suffix in {".py", ".smk", ".yaml", ".j2"}
    ]
    named = {name for path in [*files, repository / "Snakefile"] for name in NAMED_PAGE.findall(path.read_text())}

    assert len(named) > 10
    assert sorted(name for name in named if not (repository / name).exists()) == []


def test_every_page_is_reached_from_the_readme(repository: Path) -> None:
    docs = repository / "docs"
    seen, queue = set[Path](), [repository / "README.md"]
    while queue:
        page = queue.pop()
        links = (link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link)
        found = {(page.parent / link).resolve() for link in links if link.endswith(".md")} - seen
        seen |= found
        queue += found

    assert sorted(path.name for path in docs.glob("*.md") if path.resolve() not in seen) == []


def test_the_site_builds_without_warnings(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]

    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "First result, in minutes" in (tmp_path / "index.html").read_text()
    assert (tmp_path / "images" / "report.jpg").is_file()
