"""Real files of other programs give the values that were computed without this project (../shared/formats/*/README.md).

Areas there are those of polygons, here they are numbers of pixels: of single nuclei they differ by less than the pixels on
the outline, of many together by much less.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.coco import read_coco
from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.imagej import read_imagej
from cellvit.data.annotations.imagescope import read_imagescope
from cellvit.data.annotations.options import Options, Place

FORMATS = Path(__file__).parents[4] / "shared" / "formats"

pytestmark = pytest.mark.skipif(
    not FORMATS.is_dir(), reason="needs ../shared/formats, which is not part of the repository"
)


def read(reader, name, shape, *, offset=(0.0, 0.0), member="", **options) -> Annotation:
    return reader(FORMATS / name, shape, Options(**options), Place(offset=offset, member=member))


def areas(found: Annotation) -> np.ndarray:
    return np.bincount(found.instances.ravel(), minlength=1)[1:]


def centroid(found: Annotation, label: int) -> tuple[float, float]:
    """In coordinates of outlines, where the centre of the first pixel is (0.5, 0.5)."""
    rows, columns = np.nonzero(found.instances == label)
    return columns.mean() + 0.5, rows.mean() + 0.5


def test_monuseg():
    found = read(read_imagescope, "aperio_xml_NC/TCGA-ZF-A9R5-01A-01-TS1.xml", (1000, 1000))

    assert found.classes == ("",) * 475
    assert found.counts["repaired"] == 97
    assert areas(found).sum() == pytest.approx(194537.82, rel=0.002)
    assert np.median(areas(found)) == pytest.approx(421.5, abs=3)
    assert centroid(found, 1) == pytest.approx((966.64, 973.64), abs=0.2)
    assert centroid(found, 2) == pytest.approx((900.5, 973.64), abs=0.2)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "repaired", "area"),
    [
        ("A9K0_2", (763, 756), {"Epithelial": 15, "Lymphocyte": 299}, 103, 122053.79),
        ("A9K0_3", (185, 497), {"Neutrophil": 5}, 2, 2393.5),
    ],
)
def test_monusac(name, shape, classes, repaired, area):
    found = read(read_imagescope, f"aperio_xml_NC/{name}.xml", shape)

    assert Counter(found.classes) == classes
    assert found.counts["repaired"] == repaired
    assert areas(found).sum() == pytest.approx(area, rel=0.003)


@pytest.mark.parametrize(
    ("name", "offset", "classes", "area", "first"),
    [
        ("tcga_tile.geojson", (0, 0), {"": 4}, 2991.5, (41.29, 276.98)),
        ("qupath05.geojson", (8000, 5000), {"": 3}, 168998, (951.17, 1416.95)),
        ("lmd_missing_classification.geojson", (0, 0), {"Tumor": 1, "": 1}, 200, (15, 15)),
        ("lmd_point.geojson", (0, 0), {"Tumor": 1}, 100, (15, 15)),
        ("TD_01_verysmall_mIF.geojson", (0, 0), {"class_1": 3, "class_2": 3}, 148764.58, (337.46, 399.8)),
        ("qupath-polygon.json", (26000, 15000), {"": 1}, 94491.5, (404.91, 544.38)),
        ("qupath-ellipse.json", (26000, 15000), {"": 1}, 45350.45, (195.5, 357)),
        ("qupath-polygon-cell-classified.json", (17000, 19000), {"Cell": 2, "Nucleus": 2}, 442.59, (228.5, 1012)),
    ],
)
def test_qupath(name, offset, classes, area, first):
    found = read(read_geojson, f"qupath_geojson/{name}", (2000, 2000), offset=offset)

    assert Counter(found.classes) == classes
    assert areas(found).sum() == pytest.approx(area, rel=0.002, abs=10)
    assert centroid(found, 1) == pytest.approx(first, abs=0.2)


def test_qupath_objects_with_a_region():
    name = "qupath_geojson/Single_cells.geojson"
    whole = read(read_geojson, name, (800, 1000))
    found = read(read_geojson, name, (800, 1000), region_classes=("class_1",))

    assert Counter(whole.classes) == {"single_cells_demo": 121, "circles": 4, "two_circles": 2, "class_1": 1}
    assert whole.counts["points"] == 3
    assert whole.counts["enclosing"] == 1
    assert found.counts["regions"] == 1
    assert Counter(found.classes)["single_cells_demo"] == 121 - (found.counts.get("outside_regions", 0) - 6)
    assert found.annotated[:416, 296:982].all()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("qupath_geojson/qupath-point.json", {"points": 1}),
        ("qupath_geojson/qupath-polyline.json", {"lines": 1}),
        ("cellvit_geojson/JP2K-33003-2_cell_detection.geojson", {"points": 36 + 3562 + 34329}),
    ],
)
def test_files_without_outlines(name, counts):
    found = read(read_geojson, name, (100, 100))

    assert found.classes == ()
    assert found.counts == counts


def test_coco():
    stated = {"test_1_000": 82, "test_12_008": 23, "test_2_004": 30, "test_2_005": 20}
    names = [*stated, "test_2_006", "test_2_007"]
    found = {name: read(read_coco, "coco_NC/instances_test_6.json", (256, 256), member=f"{name}.jpg") for name in names}

    n = {name: len(one.classes) + one.counts.get("degenerate", 0) for name, one in found.items()}
    assert {name: n[name] for name in stated} == stated
    assert sum(n.values()) == 187
    classes = sum((Counter(one.classes) for one in found.values()), Counter())
    assert classes["epithelial"] == 63 - 1
    assert classes["healthy_epithelial"] == 14
    assert classes["spindle-shaped"] == 110 - 2


def test_mmdetection():
    name = "mmdet_rle_NC/test_12_008.json"
    found = read(read_coco, name, (256, 256))
    good = read(read_coco, name, (256, 256), min_score=0.5)

    assert len(found.classes) + sum(found.counts.get(rule, 0) for rule in ("too_small", "covered", "duplicates")) == 103
    assert good.counts["low_score"] == 103 - 44
    assert areas(found).max() == 733


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("composite-brush-donut", 22 - 4),
        ("composite-oval-in-rect", 1222 - 284),
        ("composite-two-ellipses", 856.83 + 540.19),
        ("ellipse", 24.6),
        ("oval", 988.02),
        ("polygon", 7163),
        ("rectangle", 1548),
    ],
)
def test_imagej(name, area):
    found = read(read_imagej, f"imagej_roi/{name}.roi", (200, 200))

    assert found.classes == ("",)
    assert areas(found)[0] == pytest.approx(area, rel=0.01, abs=0.7)


@pytest.mark.parametrize("name", ["ellipse-top", "oval-top", "polygon-top"])
def test_imagej_cut_by_the_border(name):
    assert read(read_imagej, f"imagej_roi/{name}.roi", (200, 200)).counts == {"cut_by_border": 1}


@pytest.mark.parametrize("name", ["freeline", "line2"])
def test_imagej_lines(name):
    assert read(read_imagej, f"imagej_roi/{name}.roi", (200, 200)).counts == {"lines": 1}


def test_cryonuseg():
    found = read(read_imagej, "imagej_roizip_NC/TCGA-DE-A4MA.zip", (512, 512))

    assert found.classes == ("",) * 59
    assert found.counts["repaired"] == 33
    assert areas(found).sum() == pytest.approx(16311.5, rel=0.002)
    assert centroid(found, 1) == pytest.approx((112.91, 403.17), abs=0.1)


def test_nuinsseg_outlines_lie_on_its_masks():
    image = pytest.importorskip("PIL.Image")
    rois = sorted((FORMATS / "nuinsseg/GT/human_bladder_01_roiset").glob("*.roi"))
    for path in rois:
        outline = read_imagej(path, (512, 512), Options(), Place()).instances > 0
        mask = np.array(image.open(FORMATS / "nuinsseg/GT/human_bladder_01_png_masks" / f"{path.stem}.png")) > 0
        # Their masks hold the pixels on the outline too, ours those with their centre inside.
        assert (outline & mask).sum() > 0.99 * outline.sum()
        assert (outline & mask).sum() > 0.85 * mask.sum()
    assert len(rois) == 24
