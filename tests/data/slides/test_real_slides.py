"""Real files of other programs give the values that were computed without this project (../shared/formats/*/README.md)."""

from pathlib import Path

import numpy as np
import pytest

from cellvit.data.slides.area import regions_of
from cellvit.data.slides.opening import open_slide
from cellvit.data.slides.tissue import tissue_of
from cellvit.errors import ContractError

FORMATS = Path(__file__).parents[4] / "shared" / "formats"

pytestmark = pytest.mark.skipif(
    not FORMATS.is_dir(), reason="needs ../shared/formats, which is not part of the repository"
)


@pytest.mark.parametrize(
    ("name", "size", "mpp", "mean"),
    [
        ("slides/CMU-1-Small-Region.svs", (2220, 2967), 0.499, (214.01, 194.81, 207.9)),
        ("slides/OS-1-detail.ome.tif", (1101, 1101), 0.2270972430394695, (144.37, 123.64, 179.7)),
        ("slides/HE_example.tif", (1380, 1484), 0.5000799214486333, (177.75, 138.64, 193.99)),
        ("slides/kidney-48-5.tif", (1493, 901), None, (251.8, 251.82, 251.87)),
        ("slides/boxes.tiff", (300, 250), None, (159.09, 163.51, 191.5)),
        ("slides/sm_image.dcm", (50, 50), 0.499, (243.91, 243.89, 243.89)),
        ("tiff_variants/cells-1.jp2", (185, 261), None, (212.63, 213.62, 214.53)),
        ("tiff_variants/test-card-lossy-tiled.jp2", (640, 480), None, (98.59, 44.71, 99.46)),
        ("tiff_variants/hopper_bigtiff.tif", (128, 128), None, (89.71, 80.09, 95.38)),
        ("tiff_variants/hopper_float_dpi_None.tif", (128, 128), None, (89.71, 80.09, 95.38)),
        ("tiff_variants/tiff_tiled_ycbcr_jpeg_2x2_sampling.tif", (480, 360), None, (119.3, 131.99, 94.11)),
        ("tiff_variants/rgb.tiled.jpeg2000.u1.tif", (111, 83), None, (155.38, 150.38, 145.18)),
        ("qupath_geojson/tcga_tile.png", (1024, 1024), None, (167.73, 136.7, 169.09)),
    ],
)
def test_real_files_have_the_stated_size_resolution_and_colours(opened, name, size, mpp, mean):
    slide = opened(FORMATS / name)

    assert (slide.width, slide.height) == size
    assert slide.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-9))
    np.testing.assert_allclose(slide.read(0, 0, *size).mean(axis=(0, 1)), mean, atol=0.006)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("slides/broken.svs", "another format"),
        ("slides/unopenable.tiff", "52479"),
        ("tiff_variants/tiff_16bit_RGB.tiff", "16 bits per channel"),
        ("tiff_variants/16bit.cropped.tif", "grey image of 16 bits"),
        ("tiff_variants/cells-gray16.tif", "grey image of 16 bits"),
        ("tiff_variants/gray.bigtiff.u1.tif", "grey image of 8 bits"),
        ("tiff_variants/g4_orientation_6.tif", "grey image of 1 bits"),
        ("tiff_variants/tiff_tiled_cmyk_jpeg.tif", "CMYK"),
        ("tiff_variants/rgba.tiled.u1.tif", "alpha channel with values from"),
    ],
)
def test_real_files_that_would_be_changed_are_refused(name, found):
    with pytest.raises(ContractError, match=rf"{Path(name).name}: expected .*{found}.*Fix: "):
        open_slide(FORMATS / name)


def test_the_tissue_of_a_real_slide_leaves_its_glass_out(opened):
    section, core, glass = (
        tissue_of(opened(FORMATS / "slides" / name, mpp))
        for name, mpp in (("CMU-1-Small-Region.svs", None), ("HE_example.tif", None), ("kidney-48-5.tif", 0.5))
    )

    assert 0.35 < section.geometry.area / (2220 * 2967) < 0.5  # 0.34 of its pixels have colour
    assert 0.75 < core.geometry.area / (1380 * 1484) < 0.85
    assert glass.geometry.is_empty


def test_regions_of_qupath_are_read(opened):
    slide = opened(FORMATS / "qupath_geojson/tcga_tile.png")

    area = regions_of(FORMATS / "qupath_geojson/tcga_tile.geojson", slide)

    assert area.geometry.area == pytest.approx(2991.5)
    with pytest.raises(ContractError, match="feature 0: expected a region on"):
        regions_of(FORMATS / "qupath_geojson/qupath05.geojson", slide)
