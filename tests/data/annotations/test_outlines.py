from pathlib import Path

import numpy as np
import pytest

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.assembly import Reading
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.outlines import Outline, Part, annotation_of
from cellvit.data.annotations.rules import RULES
from cellvit.errors import ContractError

SHAPE = (20, 24)


def box(left, top, right, bottom):
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def outline(*boxes, name="a", holes=()):
    first, *others = (Part(box(*one)) for one in boxes)
    return Outline((Part(first.outer, tuple(box(*hole) for hole in holes)), *others), name)


def read(*outlines: Outline, shape=SHAPE, offset=(0.0, 0.0), **options: object) -> Annotation:
    reading = Reading(Path("tile.geojson"), shape, Options(**options), Place(offset=offset))
    return annotation_of(outlines, reading)


def areas(annotation: Annotation) -> list[int]:
    return np.bincount(annotation.instances.ravel(), minlength=1)[1:].tolist()


def test_nuclei_are_numbered_in_the_order_of_the_file():
    found = read(outline((0, 0, 2, 2), name="x"), outline((5, 5, 8, 8), name="y"))

    assert found.classes == ("x", "y")
    assert (found.instances[0, 0], found.instances[6, 6]) == (1, 2)
    assert found.annotated.all()
    assert found.counts == {}


def test_coordinates_are_moved_by_the_offset_of_the_image():
    found = read(outline((100, 200, 103, 202)), offset=(98.0, 199.0))

    assert np.argwhere(found.instances).tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]


def test_the_smaller_of_two_nuclei_gets_the_pixels_of_both_in_any_order():
    small, large = outline((5, 5, 8, 8), name="small"), outline((2, 2, 10, 10), name="large")

    for found in (read(small, large), read(large, small)):
        assert dict(zip(found.classes, areas(found), strict=True)) == {"small": 9, "large": 55}
        assert found.counts == {"overlapping": 1}


def test_of_nuclei_of_one_size_the_later_gets_the_pixels():
    found = read(outline((0, 0, 4, 4)), outline((2, 0, 6, 4)))

    assert areas(found) == [8, 16]
    assert found.counts == {"overlapping": 1}


def test_a_nucleus_that_others_cover_completely_is_left_out():
    found = read(outline((0, 0, 4, 4), name="under"), outline((0, 0, 2, 4)), outline((2, 0, 4, 4)))

    assert found.classes == ("a", "a")
    assert areas(found) == [8, 8]
    assert found.counts == {"covered": 1}


def test_holes_stay_empty_and_may_hold_another_nucleus():
    found = read(outline((0, 0, 10, 10), holes=[(3, 3, 6, 6)]), outline((4, 4, 5, 5)))

    assert areas(found) == [91, 1]
    assert found.instances[3, 3] == 0
    assert found.counts == {"holes": 1}


def test_several_parts_are_one_nucleus_where_they_overlap_too():
    found = read(outline((0, 0, 4, 4), (2, 2, 6, 6), (10, 10, 11, 11)))

    assert areas(found) == [16 + 12 + 1]
    assert found.counts == {"several_parts": 1}


def test_a_line_that_crosses_itself_is_repaired_and_both_sides_are_kept():
    bow = np.array([(0, 0), (8, 8), (8, 0), (0, 8)], float)

    found = read(Outline((Part(bow),), "a"))

    assert found.counts == {"repaired": 1}
    assert areas(found) == [32]
    assert found.instances[4, 0] == found.instances[4, 7] == 1
    assert found.instances[0, 4] == 0


def test_a_hole_outside_the_outline_adds_nothing_to_the_nucleus():
    found = read(outline((0, 0, 4, 4), holes=[(2, 2, 8, 8)]))

    assert areas(found) == [12]
    assert found.counts["repaired"] == 1


@pytest.mark.parametrize(
    "ring",
    [
        pytest.param([(1, 1)], id="one point"),
        pytest.param([(1, 1), (5, 5)], id="two points"),
        pytest.param([(1, 1), (5, 5), (1, 1)], id="there and back"),
        pytest.param([(1, 1), (5, 5), (9, 9)], id="on one line"),
        pytest.param([(1, 1), (1, 1), (1, 1), (1, 1)], id="four times one point"),
        pytest.param(np.zeros((0, 2)), id="none"),
    ],
)
def test_outlines_without_an_area_are_left_out(ring):
    found = read(Outline((Part(np.array(ring, float)),), "a"))

    assert found.classes == ()
    assert found.counts == {"degenerate": 1}


def test_nuclei_at_the_border_are_cut_and_those_beyond_are_left_out():
    found = read(outline((-3, 4, 2, 6)), outline((22, 4, 30, 6)), outline((24, 0, 26, 2)), outline((-9, -9, -1, -1)))

    assert areas(found) == [4, 4]
    assert found.counts == {"cut_by_border": 2, "outside": 2}


def test_nuclei_without_the_centre_of_a_pixel_are_left_out():
    found = read(outline((3.6, 3.6, 4.4, 4.4)))

    assert found.counts == {"too_small": 1}


def test_of_equal_nuclei_one_is_kept_and_of_another_class_the_last():
    first = outline((0, 0, 4, 4), name="x")

    assert read(first, first).counts == {"duplicates": 1}
    assert read(first, first).classes == ("x",)
    other = read(first, outline((0, 0, 4, 4), name="y"))
    assert other.classes == ("y",)
    assert other.counts == {"duplicates_of_other_class": 1}


def test_an_outline_around_many_nuclei_is_counted():
    inside = [outline((2 * at, 2 * at, 2 * at + 1, 2 * at + 1)) for at in range(5)]

    assert read(outline((0, 0, 20, 20)), *inside).counts == {"overlapping": 1, "enclosing": 1}
    assert read(outline((0, 0, 20, 20)), *inside[:4]).counts == {"overlapping": 1}


def test_nothing_counts_outside_the_annotated_regions():
    found = read(
        outline((0, 0, 10, 20), name="Region*"),
        outline((2, 2, 4, 4), name="in"),
        outline((8, 8, 11, 11), name="mostly in"),
        outline((9, 14, 13, 16), name="mostly out"),
        outline((20, 2, 22, 4), name="out"),
        region_classes=("region*",),
    )

    assert found.classes == ("in", "mostly in")
    assert found.counts == {"regions": 1, "outside_regions": 2}
    assert found.annotated[8:11, 8:11].all()
    assert not found.annotated[14:16, 9:13].any()
    assert not found.annotated[:8, 10:].any()
    assert found.annotated[found.instances > 0].all()


def test_regions_that_are_not_annotated_lie_within_those_that_are():
    found = read(
        outline((0, 0, 20, 20), name="roi"),
        outline((0, 0, 6, 6), name="Ignore*"),
        outline((1, 1, 3, 3)),
        outline((8, 8, 9, 9)),
        region_classes=("roi",),
    )

    assert areas(found) == [1]
    assert found.counts == {"regions": 1, "regions_not_annotated": 1, "not_annotated": 1}
    assert found.annotated.sum() == 20 * 20 - 36


def test_a_missing_region_is_refused_and_one_beyond_the_image_is_not():
    with pytest.raises(ContractError, match=r"tile.geojson: expected an outline of the class roi, .*Fix: draw"):
        read(outline((0, 0, 4, 4)), region_classes=("roi",))

    beyond = read(outline((0, 0, 4, 4)), outline((50, 50, 60, 60), name="roi"), region_classes=("roi",))
    assert not beyond.annotated.any()
    assert beyond.counts == {"regions": 1, "outside_regions": 1}


@pytest.mark.parametrize("name", ["a\nb", "\ud800", "\x00"])
def test_names_of_classes_that_cannot_be_printed_are_refused(name):
    with pytest.raises(ContractError, match=r"printable characters, found '.*Fix: rename"):
        read(outline((0, 0, 4, 4), name=name))


def test_every_rule_has_a_line_in_the_documentation(repository):
    text = (repository / "docs" / "outlines.md").read_text(encoding="utf-8")

    assert [rule for rule in RULES if f"`{rule}`" not in text] == []
