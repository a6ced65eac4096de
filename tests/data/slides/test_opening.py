"""Which library reads a file, and that pixels, sizes and levels are those that were written."""

import shutil
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from slides import write_pyramid, write_sparse_slide

from cellvit.data.slides.opening import open_slide
from cellvit.errors import ContractError, MissingInputError


@pytest.mark.parametrize(
    ("kind", "library"),
    [("tiff", "TIFF (tifffile"), ("ome", "OME-TIFF (tifffile"), ("aperio", "Aperio slide (OpenSlide")],
)
def test_pyramids_of_every_kind_give_their_pixels_and_levels(tmp_path, opened, picture, kind, library):
    slide = opened(write_pyramid(tmp_path / "a.tif", picture, 0.25, kind=kind))

    assert slide.kind.startswith(library)
    assert (slide.width, slide.height, slide.mpp, slide.notes) == (900, 700, pytest.approx(0.25), ())
    assert slide.downsamples == (1.0, 2.0, 4.0)
    np.testing.assert_array_equal(slide.read(100, 30, 700, 600), picture[30:630, 100:800])
    reduced = picture.reshape(350, 2, 450, 2, 3).mean(axis=(1, 3))
    assert np.abs(slide.read(100, 30, 300, 200, level=1) - reduced[15:215, 50:350]).max() <= 1


@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
def test_what_lies_outside_of_a_slide_is_white(tmp_path, opened, picture, kind):
    slide = opened(write_pyramid(tmp_path / "a.tif", picture, 0.25, kind=kind))

    pixels = slide.read(-20, 690, 30, 20)

    np.testing.assert_array_equal(pixels[:10, 20:], picture[690:, :10])
    assert (pixels[:, :20] == 255).all()
    assert (pixels[10:] == 255).all()
    assert (slide.read(5000, 5000, 4, 3) == 255).all()


def test_the_content_decides_and_not_the_suffix(tmp_path, opened, picture):
    aperio = write_pyramid(tmp_path / "a.svs", picture, 0.25, kind="aperio")
    renamed = shutil.copy(aperio, tmp_path / "b.tif")
    Image.fromarray(picture).save(tmp_path / "c.png")
    (tmp_path / "c.png").rename(tmp_path / "c.svs")

    assert opened(renamed).kind == opened(aperio).kind
    np.testing.assert_array_equal(opened(tmp_path / "c.svs").read(0, 0, 900, 700), picture)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tile": (64, 48), "compression": "lzw"}, id="lzw"),
        pytest.param({"compression": "deflate", "predictor": True}, id="predictor"),
        pytest.param({"compression": None}, id="uncompressed"),
        pytest.param({"compression": "zstd"}, id="zstd"),
        pytest.param({"compression": "jpeg", "photometric": "rgb"}, id="jpeg"),
        pytest.param({"compression": "jpeg2000", "photometric": "rgb"}, id="jpeg2000"),
        pytest.param({"tile": None, "rowsperstrip": 100}, id="strips"),
    ],
)
def test_tiles_of_every_compression_give_what_tifffile_reads(tmp_path, opened, picture, options):
    path = tmp_path / "a.tif"
    options = {"tile": (256, 256), "photometric": "rgb", **options}
    tifffile.imwrite(path, picture, metadata=None, **options)

    slide = opened(path)

    expected = tifffile.imread(path)
    np.testing.assert_array_equal(slide.read(0, 0, 900, 700), expected)
    np.testing.assert_array_equal(slide.read(333, 250, 400, 300), expected[250:550, 333:733])


@pytest.mark.parametrize("suffix", ["png", "jpg", "jp2", "tif"])
def test_images_without_a_pyramid_are_read_as_a_whole(tmp_path, opened, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path)

    slide = opened(path)

    assert slide.downsamples == (1.0,)
    with Image.open(path) as image:
        np.testing.assert_array_equal(slide.read(0, 0, 900, 700), np.asarray(image))
    assert (slide.read(-1, 0, 1, 1) == 255).all()


@pytest.mark.parametrize(("width", "height"), [(1, 700), (900, 1), (1, 1), (257, 255)])
@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
def test_slides_of_any_size_can_be_read(tmp_path, opened, picture, kind, width, height):
    path = write_pyramid(tmp_path / "a.tif", picture[:height, :width], 0.25, kind=kind, n_levels=1)

    slide = opened(path)

    assert (slide.width, slide.height) == (width, height)
    np.testing.assert_array_equal(slide.read(0, 0, width, height), picture[:height, :width])


def test_large_images_are_never_decoded_as_a_whole(tmp_path, opened, monkeypatch, picture):
    monkeypatch.setattr("cellvit.data.slides.opening.LARGEST_PX", 100_000)
    strips, raw = tmp_path / "strips.tif", tmp_path / "raw.tif"
    tifffile.imwrite(strips, picture, photometric="rgb", rowsperstrip=16, compression="lzw")
    tifffile.imwrite(raw, picture, photometric="rgb")

    for path in (strips, raw):
        slide = opened(path)

        assert slide.kind.startswith("TIFF (tifffile")
        np.testing.assert_array_equal(slide.read(17, 100, 600, 500), picture[100:600, 17:617])


def test_missing_tiles_are_white_and_empty_levels_are_left_out(tmp_path, opened, picture):
    path = write_sparse_slide(tmp_path / "a.tif", 5000, [(2000, 3000, picture)], missing=True, n_levels=3)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        level = tif.pages[2]
        level.tags["TileOffsets"].overwrite([0] * len(level.dataoffsets))
        level.tags["TileByteCounts"].overwrite([0] * len(level.dataoffsets))

    slide = opened(path)

    assert slide.downsamples == (1.0, 2.0)
    assert slide.notes == ("Level 2 of the pyramid is empty or of another kind, and is not used.",)
    np.testing.assert_array_equal(slide.read(2000, 3000, 900, 700), picture)
    assert (slide.read(600, 600, 300, 300) == 255).all()


def test_further_images_of_a_file_are_noted(tmp_path, opened, picture):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for image in (picture, picture[:100, :120]):
            tif.write(image, tile=(256, 256), photometric="rgb", metadata=None)

    slide = opened(path)

    assert slide.notes == ("The first of 2 images of the file is read.",)
    np.testing.assert_array_equal(slide.read(0, 0, 900, 700), picture)


def test_a_slide_of_a_scanner_without_openslide_names_the_extra(tmp_path, opened, picture, monkeypatch):
    slide = write_pyramid(tmp_path / "a.tif", picture, 0.25, kind="aperio")
    plain = write_pyramid(tmp_path / "b.tif", picture, 0.25)
    (tmp_path / "c.mrxs").write_bytes(b"\xff\xd8\xff")
    monkeypatch.setitem(sys.modules, "openslide", None)

    for path in (slide, tmp_path / "c.mrxs"):
        with pytest.raises(MissingInputError, match=r"pip install 'cellvit-optimus\[slides\]'"):
            open_slide(path)
    np.testing.assert_array_equal(opened(plain).read(0, 0, 900, 700), picture)


def test_a_file_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.svs: the file does not exist"):
        open_slide(tmp_path / "none.svs")


@pytest.mark.parametrize("suffix", ["svs", "png", "tif", "dcm", "mrxs", "txt"])
def test_other_files_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"<html>not found</html>")

    with pytest.raises(ContractError, match=rf"a\.{suffix}: expected .* Fix: "):
        open_slide(path)
