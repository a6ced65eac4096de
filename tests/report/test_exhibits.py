"""The views of a tile: what each shows, that CSS alone switches them, and their legends and scale bar."""

import re

import pytest
import run_documents as documents

from cellvit.evaluation.scale_bar import scale_bar
from cellvit.formats.dataset import PANNUKE
from cellvit.report.data import ReportData
from cellvit.report.exhibits import VIEWS, Exhibit, class_legend, outcome_legend, rooms
from cellvit.report.page import render


@pytest.fixture(scope="module")
def exhibit() -> Exhibit:
    (room,) = rooms([documents.gallery("digestive", tiles_per_rank=1)], PANNUKE)
    return room.exhibits[0]


def test_each_view_has_its_lines_and_says_in_words_what_they_are(exhibit: Exhibit) -> None:
    views = {view.name: view for view in exhibit.views}

    assert [line.dash for line in views["outcome"].lines] == ["matched", "other_class", "false", "missed"]
    assert views["outcome"].caption == "2 matched (1 of another class), 3 missed, 1 false"
    assert [line.color for line in views["predicted"].lines] == ["#f0e442", "#35e0f0", "#ff6a00"]
    assert views["predicted"].caption == "Prediction: 3 nuclei, by predicted class"
    assert len(views["truth"].lines) == 3
    assert not views["plain"].lines


def test_every_line_is_a_shape_of_its_tile_and_a_dark_class_has_a_light_halo(exhibit: Exhibit) -> None:
    lines = [line for view in exhibit.views for line in view.lines]

    assert {line.shape for line in lines} == set(exhibit.shapes)
    assert {line.halo for line in lines if line.color == "#000000"} == {"#ffffff"}
    assert {line.halo for line in lines if line.color != "#000000"} == {"#000000"}


def test_radio_inputs_come_before_what_they_switch_and_each_has_rules_and_a_label(data: ReportData) -> None:
    page = render(data)

    assert page.count('type="radio"') == len(VIEWS)
    assert page.count(" checked>") == 1
    assert page.rindex('type="radio"') < page.index('<details class="room"')
    for name in VIEWS:
        assert f'<label for="view-{name}">{VIEWS[name]}</label>' in page
        assert f'#view-{name}:checked ~ .switch [for="view-{name}"]' in page
        if name != "plain":
            assert f"#view-{name}:checked ~ .room .view-{name}" in page
    assert "<script" not in page


def test_a_tile_is_in_the_page_once_whatever_the_number_of_views(data: ReportData) -> None:
    page = render(data)

    ids = re.findall(r'<image id="(\w+)"', page)
    uses = re.findall(r'<use href="#(g\d+t\d+)"/>', page)
    assert len(ids) == len(set(ids)) == 8
    assert sorted(uses) == sorted(ids * len(VIEWS))
    assert page.count('vector-effect="non-scaling-stroke"') == 6 * len(ids)


def test_legends_name_every_colour_in_words() -> None:
    assert [entry.text.split(":")[0] for entry in outcome_legend()] == [
        "Matched",
        "Matched, but of another class",
        "Missed",
        "False",
    ]
    assert [entry.text for entry in class_legend(PANNUKE)][-1] == "Class not known"


def test_the_scale_bar_follows_the_resolution() -> None:
    assert scale_bar(0.25, 256) == (80, "20 µm")
    assert scale_bar(0.5, 256) == (40, "20 µm")
    assert scale_bar(1.0, 256) == (50, "50 µm")
