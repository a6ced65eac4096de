"""Files whose pixels would be changed without a word, and damaged files, are refused by name."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from slides import write_pyramid

from cellvit.data.slides.opening import open_slide
from cellvit.errors import ContractError

TILED = {"tile": (256, 256), "metadata": None}


def write_tiled(path, pixels, **options):
    tifffile.imwrite(path, pixels, **(TILED | options))
    return path


@pytest.mark.parametrize(
    ("dtype", "shape", "photometric", "found"),
    [
        pytest.param("u2", (300, 400, 3), "rgb", "16 bits per channel", id="16_bit"),
        pytest.param("u1", (300, 400, 4), "separated", "CMYK", id="cmyk"),
        pytest.param("u1", (300, 400), "minisblack", "a grey image of 8 bits", id="grey"),
        pytest.param("u2", (300, 400), "minisblack", "a grey image of 16 bits", id="grey_16_bit"),
        pytest.param("f4", (300, 400, 3), "rgb", "32 bits per channel", id="float"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "aperio"])
def test_other_colours_are_refused_whoever_would_read_them(tmp_path, dtype, shape, photometric, found, kind):
    description = {"description": "Aperio Image Library v12\r\n|AppMag = 20|MPP = 0.25"} if kind == "aperio" else {}
    path = write_tiled(tmp_path / "a.tif", np.full(shape, 100, dtype), photometric=photometric, **description)

    with pytest.raises(ContractError, match=rf"a\.tif: expected RGB with 8 bits per channel, found {found}.*Fix: save"):
        open_slide(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_grey_and_transparent_pictures_are_refused(tmp_path, name):
    grey, clear = tmp_path / f"grey_{name}", tmp_path / f"clear_{name}"
    Image.new("L", (50, 40)).save(grey)
    Image.new("RGBA", (50, 40), (200, 100, 150, 80)).save(clear)

    with pytest.raises(ContractError, match="grey image"):
        open_slide(grey)
    with pytest.raises(ContractError, match="alpha channel with values from 80"):
        open_slide(clear)


def test_alpha_channels_are_left_out_where_they_are_opaque(tmp_path, opened, monkeypatch, picture):
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    clear = opaque.copy()
    clear[600, 800, 3] = 7
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    whole = write_tiled(tmp_path / "whole.tif", opaque, **options)
    np.testing.assert_array_equal(opened(whole).read(0, 0, 900, 700), picture)

    monkeypatch.setattr("cellvit.data.slides.opening.LARGEST_PX", 1000)
    tiled = opened(write_tiled(tmp_path / "tiled.tif", clear, **options))

    np.testing.assert_array_equal(tiled.read(0, 0, 500, 500), picture[:500, :500])
    with pytest.raises(ContractError, match=r"tiled\.tif: .* alpha channel with values from 7"):
        tiled.read(700, 500, 200, 200)


@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
def test_truncated_slides_are_refused_when_they_are_opened(tmp_path, picture, kind):
    path = write_pyramid(tmp_path / "a.tif", picture, 0.25, kind=kind, compression=None, n_levels=1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(ContractError, match=r"a\.tif: expected .*Fix: "):
        open_slide(path)


@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
def test_damaged_tiles_are_refused_when_they_are_read(tmp_path, opened, picture, kind):
    path = write_pyramid(tmp_path / "a.tif", picture, 0.25, kind=kind, n_levels=1)
    with tifffile.TiffFile(path) as tif:
        offset, size = tif.pages.first.dataoffsets[-1], tif.pages.first.databytecounts[-1]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * size)
    slide = opened(path)

    np.testing.assert_array_equal(slide.read(0, 0, 256, 256), picture[:256, :256])
    with pytest.raises(ContractError, match=r"a\.tif: expected a?\s?readable"):
        slide.read(800, 600, 100, 100)


def test_large_images_that_cannot_be_read_in_parts_are_refused(tmp_path, monkeypatch, picture):
    monkeypatch.setattr("cellvit.data.slides.opening.LARGEST_PX", 1000)
    monkeypatch.setattr("cellvit.data.slides.tiff_level.CACHE_BYTES", 1_000_000)
    strip, planes = tmp_path / "strip.tif", tmp_path / "planes.tif"
    tifffile.imwrite(strip, picture, photometric="rgb", rowsperstrip=700, compression="lzw")
    tifffile.imwrite(planes, np.moveaxis(picture, 2, 0), photometric="rgb", planarconfig="separate", tile=(256, 256))

    with pytest.raises(
        ContractError, match=r"strip\.tif: expected tiles or strips of at most .* 900 x 700 px.*Fix: save"
    ):
        open_slide(strip)
    with pytest.raises(ContractError, match=r"planes\.tif: .* found a plane for each .*Fix: save"):
        open_slide(planes)


def test_rotated_slides_are_refused(tmp_path, picture):
    path = write_tiled(tmp_path / "a.tif", picture, photometric="rgb", extratags=[(274, "H", 1, 6, False)])

    with pytest.raises(ContractError, match="orientation 6"):
        open_slide(path)
