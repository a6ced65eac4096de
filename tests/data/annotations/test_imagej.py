import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.imagej import read_imagej
from cellvit.data.annotations.options import Options, Place
from cellvit.errors import ContractError

SHAPE = (30, 40)
SQUARE = ((2, 3), (6, 3), (6, 7), (2, 7))


def roi_of(points=SQUARE, roitype=ROI_TYPE.POLYGON, **more):
    roi = ImagejRoi.frompoints(np.array(points))
    roi.roitype = roitype
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def box(roitype, left=2, top=3, right=6, bottom=7, **more):
    return ImagejRoi(roitype=roitype, left=left, top=top, right=right, bottom=bottom, **more)


def composite(*paths):
    flat = []
    for path in paths:
        flat += [value for at, point in enumerate(path) for value in (int(at > 0), *point)] + [4]
    values = np.array(flat, np.float32)
    return box(ROI_TYPE.RECT, multi_coordinates=values, shape_roi_size=len(values))


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return stream.getvalue()


def read(path: Path, content: bytes | ImagejRoi) -> Annotation:
    path.write_bytes(content if isinstance(content, bytes) else content.tobytes())
    return read_imagej(path, SHAPE, Options(), Place())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rois.zip"


@pytest.mark.parametrize(
    ("roi", "area"),
    [
        pytest.param(roi_of(), 16, id="polygon"),
        pytest.param(roi_of(roitype=ROI_TYPE.FREEHAND), 16, id="freehand"),
        pytest.param(roi_of(roitype=ROI_TYPE.TRACED), 16, id="traced"),
        pytest.param(roi_of(np.array(SQUARE) + 0.25), 16, id="fractions of pixels"),
        pytest.param(box(ROI_TYPE.RECT), 16, id="rectangle"),
        pytest.param(box(ROI_TYPE.OVAL, right=22, bottom=23), 316, id="oval"),
        pytest.param(composite(SQUARE), 16, id="composite"),
        pytest.param(composite(((0, 0), (10, 0), (10, 10), (0, 10)), SQUARE), 84, id="composite with a hole"),
        pytest.param(composite(SQUARE, ((20, 20), (22, 20), (22, 22), (20, 22))), 20, id="composite of two parts"),
    ],
)
def test_outlines_of_all_kinds_are_read(path, roi, area):
    found = read(path, roi)

    assert (found.instances == 1).sum() == area
    assert found.classes == ("",)


def test_rectangles_with_fractions_of_pixels_are_read(path):
    exact = {"xd": 2.6, "yd": 3.0, "widthd": 4.0, "heightd": 4.0, "options": ROI_OPTIONS.SUB_PIXEL_RESOLUTION}

    found = read(path, box(ROI_TYPE.RECT, **exact))

    assert np.flatnonzero(found.instances.any(axis=0)).tolist() == [3, 4, 5, 6]


def test_the_class_is_the_number_of_the_group(path):
    rois = {"a__roi": roi_of(group=3).tobytes(), "b__roi": box(ROI_TYPE.RECT, left=10, right=14).tobytes()}

    assert read(path, zipped(**rois)).classes == ("3", "")


@pytest.mark.parametrize(
    ("roi", "rule"),
    [
        pytest.param(roi_of(roitype=ROI_TYPE.POLYLINE), "lines", id="polyline"),
        pytest.param(roi_of(roitype=ROI_TYPE.FREELINE), "lines", id="freeline"),
        pytest.param(roi_of(roitype=ROI_TYPE.ANGLE), "lines", id="angle"),
        pytest.param(ImagejRoi(roitype=ROI_TYPE.LINE, x1=1, y1=1, x2=5, y2=5), "lines", id="line"),
        pytest.param(box(ROI_TYPE.RECT, subtype=ROI_SUBTYPE.IMAGE), "texts", id="picture"),
    ],
)
def test_what_is_no_outline_is_left_out_and_counted(path, roi, rule):
    found = read(path, roi)

    assert found.classes == ()
    assert found.counts == {rule: 1}


def test_each_point_is_counted(path):
    assert read(path, roi_of(roitype=ROI_TYPE.POINT)).counts == {"points": 4}


def test_curves_are_counted(path):
    assert read(path, roi_of(options=ROI_OPTIONS.SPLINE_FIT)).counts == {"splines": 1}


def test_other_files_in_a_zip_are_passed_over_and_the_only_zip_within_is_opened(path):
    rois = zipped(a__roi=roi_of().tobytes(), notes__txt=b"text", __MACOSX=b"")

    assert len(read(path, rois).classes) == 1
    assert len(read(path, zipped(RoiSet__zip=rois, image__tif=b"")).classes) == 1
    with pytest.raises(ContractError, match="found none"):
        read(path, zipped(outer__zip=zipped(RoiSet__zip=rois)))


ROI = roi_of().tobytes()
SHORT = zipped(a__roi=ROI)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"II*\0 no roi", id="rubbish"),
        pytest.param(ROI[:70], id="truncated"),
        pytest.param(ROI[:16] + b"\x7f\xff" + ROI[18:], id="too many points"),
        pytest.param(ROI[:6] + b"\x63" + ROI[7:], id="unknown type"),
        pytest.param(SHORT[:-10], id="truncated zip"),
        pytest.param(SHORT[:60] + b"\xff\xff\xff" + SHORT[63:], id="damaged zip"),
        pytest.param(zipped(a__txt=b""), id="zip without a roi"),
        pytest.param(zipped(a__roi=b"Iout"), id="zip with a damaged roi"),
        pytest.param(zipped(a__roi=bytes(2**26)), id="bomb"),
        pytest.param(zipped(a__zip=zipped(a__roi=bytes(2**26))), id="bomb in a zip"),
        pytest.param(composite(((float("nan"), 1), (2, 2), (3, 1))).tobytes(), id="nan"),
        pytest.param(composite(((1e12, 1), (2, 2), (3, 1))).tobytes(), id="large"),
        pytest.param(
            box(
                ROI_TYPE.RECT, multi_coordinates=np.array([3, 1, 1, 2, 2, 3, 3], np.float32), shape_roi_size=7
            ).tobytes(),
            id="curve",
        ),
    ],
)
def test_files_that_are_no_rois_are_refused_by_name(path, content):
    with pytest.raises(ContractError, match=r"rois\.zip: "):
        read(path, content)


def test_a_zip_with_a_password_is_refused(path):
    flags = bytearray(SHORT)
    flags[6] |= 1
    flags[flags.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(ContractError, match=r"rois\.zip: .*password"):
        read(path, bytes(flags))


@settings(max_examples=500)
@given(
    st.sampled_from([ROI, SHORT, composite(SQUARE).tobytes()]), st.integers(0, 400), st.binary(min_size=1, max_size=6)
)
def test_no_damaged_roi_crashes(tmp_path_factory, content, at, change):
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    at %= len(content)

    try:
        read(path, content[:at] + change + content[at + len(change) :])
    except ContractError as error:
        refused = str(error)
    else:
        refused = str(path)

    assert str(path) in refused
