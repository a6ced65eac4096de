from pathlib import Path

import numpy as np
import pytest

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.imagescope import read_imagescope
from cellvit.data.annotations.options import Options, Place
from cellvit.errors import ContractError

SQUARE = ((2, 3), (6, 3), (6, 7), (2, 7))


def region(points=SQUARE, **attributes):
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    written = "".join(f' {key}="{value}"' for key, value in {"Id": "1", "Type": "0", **attributes}.items())
    return f"<Region{written}><Attributes/><Vertices>{vertices}</Vertices></Region>"


def layer(*regions, name="", attributes=(("Description", ""),)):
    listed = "".join(f'<Attribute Name="{key}" Id="0" Value="{value}"/>' for key, value in attributes)
    return (
        f'<Annotation Id="1" Name="{name}"><Attributes>{listed}</Attributes><Regions>'
        f'<RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>{"".join(regions)}'
        "</Regions><Plots/></Annotation>"
    )


def read(path: Path, *layers: str, **options: object) -> Annotation:
    path.write_text(f'<Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>', encoding="utf-8")
    return read_imagescope(path, (20, 20), Options(**options), Place())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tile.xml"


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        pytest.param("", [("Description", "")], "", id="MoNuSeg"),
        pytest.param("Layer 2", [("Lymphocyte", "")], "Lymphocyte", id="MoNuSAC"),
        pytest.param("Tumor", [("Description", "")], "Tumor", id="name of the layer"),
        pytest.param("Tumor", [("Description", ""), ("Reader", "3")], "Tumor", id="attribute with a value"),
        pytest.param("", [("Description", "Tumor")], "Tumor", id="description"),
        pytest.param("Layer 1", [], "", id="nothing"),
    ],
)
def test_the_class_is_that_of_the_layer(path, name, attributes, expected):
    found = read(path, layer(region(), name=name, attributes=attributes))

    assert found.classes == (expected,)
    assert (found.instances == 1).sum() == 16


def test_rectangles_and_ellipses_are_outlines_and_arrows_and_rulers_are_not(path):
    ends = ((10, 2), (18, 8))

    found = read(path, layer(region(Type="1"), region(ends, Type="2"), region(ends, Type="3"), region(ends, Type="4")))

    square, ellipse = np.bincount(found.instances.ravel())[1:]
    assert square == 16
    assert ellipse == pytest.approx(np.pi * 4 * 3, abs=3)
    assert found.counts == {"lines": 2}


def test_negative_regions_are_not_annotated(path):
    found = read(path, layer(region(), region(((10, 10), (14, 10), (14, 14)), NegativeROA="1")))

    assert found.counts == {"regions_not_annotated": 1}
    assert 0 < (~found.annotated).sum() < 16


def test_layers_can_be_regions(path):
    ambiguous = layer(region(((0, 0), (9, 0), (9, 9), (0, 9))), attributes=[("Ambiguous", "")])

    found = read(path, ambiguous, layer(region()), not_annotated=("ambiguous",))

    assert found.counts == {"regions_not_annotated": 1, "not_annotated": 1}


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"<?xml version='1.0'?>{BOMB}]><Annotations>&i;</Annotations>", "document type", id="bomb"),
        pytest.param(
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Annotations/>', "document type", id="file"
        ),
        pytest.param('<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><Annotations/>', "document type", id="network"),
        pytest.param("<ASAP_Annotations/>", "outermost element", id="other program"),
        pytest.param("<Annotations><Annotation>", "expected XML", id="truncated"),
        pytest.param("", "expected XML", id="empty"),
        pytest.param("<Annotations>&unknown;</Annotations>", "expected XML", id="entity"),
        pytest.param('<?xml version="1.0" encoding="klingon"?><Annotations/>', "expected XML", id="encoding"),
        pytest.param(f"<Annotations>{layer(region((('x', 1),)))}</Annotations>", "layer 1, region 1", id="text"),
        pytest.param(f"<Annotations>{layer(region((('nan', 1),)))}</Annotations>", "found nan", id="nan"),
        pytest.param(f"<Annotations>{layer(region(((1e12, 1),)))}</Annotations>", r"found 1e\+12", id="large"),
        pytest.param(f"<Annotations>{layer(region(Type='9'))}</Annotations>", "Type of 0 to 4", id="type"),
    ],
)
def test_files_that_are_no_outlines_are_refused_by_name(path, text, expected):
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ContractError, match=rf"tile\.xml: .*{expected}.* Fix: "):
        read_imagescope(path, (20, 20), Options(), Place())


def test_a_document_type_is_found_in_any_encoding(path):
    path.write_bytes('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><Annotations/>'.encode("utf-16"))

    with pytest.raises(ContractError, match="document type"):
        read_imagescope(path, (20, 20), Options(), Place())


def test_missing_coordinates_are_refused(path):
    path.write_text('<Annotations><Annotation><Region><Vertex X="1"/></Region></Annotation></Annotations>')

    with pytest.raises(ContractError, match="numbers X and Y"):
        read_imagescope(path, (20, 20), Options(), Place())


def test_deep_elements_are_read(path):
    path.write_text("<Annotations>" + "<a>" * 50_000 + "</a>" * 50_000 + "</Annotations>")

    assert read_imagescope(path, (20, 20), Options(), Place()).classes == ()
