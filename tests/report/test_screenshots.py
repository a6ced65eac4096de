"""The page as a browser shows it: no overflow, and every section like its reference picture, at two widths and in print.

A reference holds a small grey picture of each section, below each other. The letters are those of matplotlib's fonts, so that
they are equal on every machine; the tolerance is for other versions of the browser.
"""

import base64
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cellvit.report.data import ReportData
from cellvit.report.page import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which shows the page as users see it"),
]

WIDTHS = (390, 1280)
"""A telephone and a desktop, in CSS pixels."""

REFERENCES = Path(__file__).parent / "screenshots"
SHRINK = 10
"""Pixels of the page for a pixel of the reference: letters vanish, columns and pictures remain."""

SAME = 6.0
"""Greatest mean difference of grey values (0..255) of a section; another font gives 10 to 25, a broken layout 20 to 60."""

HEIGHTS = (0.94, 1.06)
"""How much lower or higher than its reference a section may be."""

FONTS = {"DejaVuSans.ttf": 400, "DejaVuSans-Bold.ttf": 700}
"""Files of matplotlib and their weight in CSS."""

FRAME = """<!DOCTYPE html><meta charset="utf-8"><title>measuring</title><style>body {{ margin: 0 }} iframe {{ border: 0; display: block }}</style>
<iframe width="{width}" height="{height}" srcdoc="{page}"></iframe>
<script>
window.onload = () => {{
  const inner = document.querySelector('iframe').contentDocument, root = inner.documentElement;
  const box = one => {{ const at = one.getBoundingClientRect(); return [one.id, at.left, at.top, at.width, at.height]; }};
  document.title = JSON.stringify({{width: root.scrollWidth, height: root.scrollHeight,
    sections: [...inner.querySelectorAll('main > section')].map(box)}});
}};
</script>"""
"""The page in a frame, because a window of Chromium is 500 px wide at least; the script tells what it measured."""


class Shot(NamedTuple):
    """A screenshot of the whole page, the width that it needs, and the box (left, top, width, height) of each section."""

    picture: Image.Image
    page_width: int
    sections: dict[str, tuple[float, float, float, float]]

    def shrunk(self, section: str) -> Image.Image:
        """A section in grey and small."""
        left, top, width, height = self.sections[section]
        crop = self.picture.convert("L").crop((round(left), round(top), round(left + width), round(top + height)))
        return crop.resize((round(width / SHRINK), max(1, round(height / SHRINK))), Image.Resampling.BOX)


def chromium(page: Path, *options: str) -> str:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def shot(page: str, width: int, folder: Path) -> Shot:
    """The page at this width, as high as it is."""
    path, picture = folder / "page.html", folder / "page.png"
    path.write_text(FRAME.format(width=width, height=1000, page=html.escape(page)), encoding="utf-8")
    title = re.search(r"<title>(.*?)</title>", chromium(path, "--dump-dom"))[1]
    measured = json.loads(html.unescape(title))
    path.write_text(FRAME.format(width=width, height=measured["height"], page=html.escape(page)), encoding="utf-8")
    chromium(path, f"--window-size={max(width, 500)},{measured['height']}", f"--screenshot={picture}")
    sections = {name: tuple(box) for name, *box in measured["sections"]}
    return Shot(Image.open(picture), measured["width"], sections)


def faults(found: Shot, width: int) -> list[str]:
    """How the page differs from what it should look like."""
    stored = Image.open(REFERENCES / f"{width}.png")
    heights, reference = json.loads(stored.text["heights"]), stored.convert("L")
    wrong = [f"the page is {found.page_width} px wide"] if found.page_width > width else []
    if list(found.sections) != list(heights):
        return [*wrong, f"sections {list(found.sections)}, expected {list(heights)}"]
    top = 0
    for name, height in heights.items():
        shrunk = found.shrunk(name)
        expected = reference.crop((0, top, round(found.sections[name][2] / SHRINK), top + height))
        top += height
        if not HEIGHTS[0] < shrunk.height / height < HEIGHTS[1]:
            wrong.append(f"{name}: {shrunk.height} high, expected {height}")
        resized = shrunk.resize(expected.size, Image.Resampling.BOX)
        difference = np.abs(np.asarray(resized, float) - np.asarray(expected, float)).mean()
        if difference > SAME:
            wrong.append(f"{name}: differs by {difference:.1f}")
    return wrong


def write_reference(found: Shot, path: Path) -> None:
    """All sections below each other, with their heights in the metadata."""
    shrunk = {name: found.shrunk(name) for name in found.sections}
    sheet = Image.new("L", (max(one.width for one in shrunk.values()), sum(one.height for one in shrunk.values())))
    top = 0
    for one in shrunk.values():
        sheet.paste(one, (0, top))
        top += one.height
    about = PngInfo()
    about.add_text("heights", json.dumps({name: one.height for name, one in shrunk.items()}))
    sheet.quantize(16).save(path, pnginfo=about, optimize=True)


def with_fonts(page: str) -> str:
    """The page with the fonts of matplotlib in place of those of the machine."""
    folder, faces = Path(mpl.get_data_path()) / "fonts" / "ttf", ""
    for name, weight in FONTS.items():
        content = base64.b64encode((folder / name).read_bytes()).decode()
        faces += (
            f"@font-face {{ font-family: Pinned; font-weight: {weight}; src: url(data:font/ttf;base64,{content}); }}\n"
        )
    return (
        page.replace("<style>", f"<style>{faces}").replace("system-ui,", "Pinned,").replace("ui-monospace,", "Pinned,")
    )


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return with_fonts(render(data))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_looks_as_its_reference(page: str, width: int, tmp_path: Path) -> None:
    found = shot(page, width, tmp_path)

    write_reference(found, tmp_path / f"{width}.png")
    assert faults(found, width) == [], f"If the change is meant: cp {tmp_path / f'{width}.png'} {REFERENCES}"


@pytest.mark.parametrize(
    ("width", "rule", "broken", "expected"),
    [
        pytest.param(390, ".scroll { overflow-x: auto; }", "", "the page is", id="tables_wider_than_a_telephone"),
        pytest.param(1280, ".view { display: none; }", "", "galleries:", id="all_views_at_once"),
    ],
)
def test_a_broken_layout_is_found(  # six arguments: the page and what is broken in it
    page: str, width: int, rule: str, broken: str, expected: str, tmp_path: Path
) -> None:
    assert rule in page

    found = faults(shot(page.replace(rule, broken), width, tmp_path), width)

    assert any(fault.startswith(expected) for fault in found), found


def test_the_page_prints_on_at_most_20_sheets(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page, encoding="utf-8")

    chromium(tmp_path / "page.html", "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}")

    sheets = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))
    assert 0 < sheets <= 20
