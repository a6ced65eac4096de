import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from cellvit.data import tiff
from cellvit.data.images import read_image
from cellvit.errors import ContractError, MissingInputError

OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
    'DimensionOrder="XYCZT" Type="uint8" SizeX="70" SizeY="50" SizeC="3" SizeZ="1" SizeT="1" {}>'
    '<Channel ID="Channel:0" SamplesPerPixel="3"/></Pixels></Image></OME>'
)


@pytest.fixture
def picture():
    """Smooth colours, 50 x 70 px."""
    rows, columns = np.mgrid[:50, :70]
    return np.stack([rows * 4, columns * 3, rows + columns], axis=-1).astype(np.uint8)


def write_tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="strips"),
        pytest.param({"tile": (16, 16)}, id="tiles"),
        pytest.param({"compression": "lzw"}, id="lzw"),
        pytest.param({"compression": "deflate", "predictor": True, "rowsperstrip": 7}, id="deflate"),
        pytest.param({"compression": "packbits"}, id="packbits"),
        pytest.param({"bigtiff": True, "tile": (32, 32)}, id="bigtiff"),
        pytest.param({"byteorder": ">"}, id="big_endian"),
    ],
)
def test_tiff_files_of_every_layout_give_their_pixels(tmp_path, picture, options):
    path = write_tiff(tmp_path / "a.tif", picture, **options)

    image = read_image(path)

    np.testing.assert_array_equal(image.pixels, picture)
    assert (image.mpp, image.mpp_source, image.counts) == (None, "", {})


def test_planes_of_colours_are_put_together(tmp_path, picture):
    path = write_tiff(tmp_path / "a.tif", np.moveaxis(picture, -1, 0), planarconfig="separate", compression="lzw")

    np.testing.assert_array_equal(read_image(path).pixels, picture)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_lossy_tiff_files_give_nearly_their_pixels(tmp_path, picture, compression):
    path = write_tiff(tmp_path / "a.tif", picture, tile=(16, 16), compression=compression)

    pixels = read_image(path).pixels

    assert pixels.shape == picture.shape
    assert abs(pixels.astype(int) - picture).mean() < 4


@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 0), ("jpg", 6), ("jp2", 2)])
def test_other_formats_give_their_pixels(tmp_path, picture, suffix, tolerance):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path)

    assert abs(read_image(path).pixels.astype(int) - picture).mean() <= tolerance


def test_the_suffix_makes_no_difference(tmp_path, picture):
    path = tmp_path / "a.tif"
    Image.fromarray(picture).save(path, format="PNG")

    np.testing.assert_array_equal(read_image(path).pixels, picture)


def test_an_opaque_alpha_channel_is_left_out_and_a_transparent_one_refused(tmp_path, picture):
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    transparent = opaque.copy()
    transparent[3, 4, 3] = 254
    for suffix in ("png", "tif"):
        for name, pixels in (("opaque", opaque), ("transparent", transparent)):
            path = tmp_path / f"{name}.{suffix}"
            if suffix == "png":
                Image.fromarray(pixels).save(path)
            else:
                tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])

        image = read_image(tmp_path / f"opaque.{suffix}")

        np.testing.assert_array_equal(image.pixels, picture)
        assert image.counts == {"alpha": 1}
        with pytest.raises(ContractError, match="opaque image, found an alpha channel with values from 254"):
            read_image(tmp_path / f"transparent.{suffix}")


def test_grey_images_are_refused_unless_they_are_wanted(tmp_path, picture):
    paths = [tmp_path / f"a.{suffix}" for suffix in ("png", "tif")]
    for path in paths:
        Image.fromarray(picture[..., 0]).save(path)

        with pytest.raises(ContractError, match="expected RGB, found a grey image"):
            read_image(path)

        image = read_image(path, grey=True)
        np.testing.assert_array_equal(image.pixels, np.repeat(picture[..., :1], 3, axis=2))
        assert image.counts == {"grey": 1}


def test_indexed_colours_are_converted_and_counted(tmp_path, picture):
    path = tmp_path / "a.png"
    indexed = Image.fromarray(picture).quantize(64)
    indexed.save(path)

    image = read_image(path)

    np.testing.assert_array_equal(image.pixels, np.asarray(indexed.convert("RGB")))
    assert image.counts == {"palette": 1}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(lambda path, p: tifffile.imwrite(path, p.astype(np.uint16), photometric="rgb"), "8 bits per channel, found uint16", id="16_bit"),
        pytest.param(lambda path, p: path.write_bytes(imagecodecs.png_encode(p.astype(np.uint16) * 257)), "8 bits.*found 16", id="png16"),
        pytest.param(lambda path, p: Image.fromarray(p).convert("CMYK").save(path, "JPEG"), "of the kind CMYK", id="cmyk"),
        pytest.param(lambda path, p: Image.fromarray(p[..., 0]).convert("1").save(path, "PNG"), "8 bits", id="binary"),
        pytest.param(lambda path, p: tifffile.imwrite(path, p / 255, photometric="rgb"), "8 bits per channel, found float64", id="float"),
        pytest.param(lambda path, p: Image.fromarray(p[..., 0]).convert("LA").save(path, "PNG"), "of the kind LA", id="grey_alpha"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_without_loss_is_refused_with_the_fix(tmp_path, picture, write, message):
    path = tmp_path / "image"
    write(path, picture)

    with pytest.raises(ContractError, match=rf"image: .*{message}.* Fix: save the image as RGB"):
        read_image(path)


def test_images_that_are_shown_rotated_are_refused(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    write_tiff(tmp_path / "a.tif", picture, extratags=[(274, "H", 1, 3, True)])

    for name, found in (("a.jpg", 6), ("a.tif", 3)):
        with pytest.raises(ContractError, match=rf"{name}.*found orientation {found}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "mpp", "source"),
    [
        pytest.param({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25, "TIFF resolution tags", id="cm"),
        pytest.param({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5, "TIFF resolution tags", id="inch"),
        pytest.param({"resolution": (72, 72), "resolutionunit": "INCH"}, None, "", id="72_dpi"),
        pytest.param({"resolution": (600, 600), "resolutionunit": "INCH"}, None, "", id="600_dpi"),
        pytest.param({"resolution": (40_000, 40_000), "resolutionunit": "NONE"}, None, "", id="no_unit"),
        pytest.param({"resolution": (0, 0), "resolutionunit": "CENTIMETER"}, None, "", id="zero"),
        pytest.param({"description": "Aperio Image Library v1\n70x50 (240x240) Q=30|AppMag = 40|MPP = 0.2525"}, 0.2525, "Aperio MPP", id="aperio"),
        pytest.param({"description": "Aperio Image Library v1\n70x50 -> 7x5|MPP = 0.25"}, None, "", id="aperio_scaled_copy"),
        pytest.param({"description": OME.format('PhysicalSizeX="0.5" PhysicalSizeY="0.5"')}, 0.5, "OME PhysicalSizeX", id="ome"),
        pytest.param({"description": OME.format('PhysicalSizeX="250" PhysicalSizeXUnit="nm"  PhysicalSizeY="250" PhysicalSizeYUnit="nm"')}, 0.25, "OME PhysicalSizeX", id="ome_nm"),
        pytest.param({"description": OME.format('PhysicalSizeX="1" PhysicalSizeXUnit="pixel"')}, None, "", id="ome_pixel"),
        pytest.param({"description": "ImageJ=1.53f\nunit=\\u00B5m\n", "resolution": (4, 4), "resolutionunit": "NONE"}, 0.25, "ImageJ metadata", id="imagej"),
    ],
)  # fmt: skip
def test_the_resolution_is_read_where_the_file_states_it(tmp_path, picture, options, mpp, source):
    image = read_image(write_tiff(tmp_path / "a.tif", picture, **options))

    assert image.mpp == (None if mpp is None else pytest.approx(mpp))
    assert image.mpp_source == source


def test_the_resolution_of_a_png_is_read_unless_it_is_that_of_a_print(tmp_path, picture):
    for dpi, mpp in ((101_600, 0.25), (96, None)):
        Image.fromarray(picture).save(tmp_path / "a.png", dpi=(dpi, dpi))

        assert read_image(tmp_path / "a.png").mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"},
            r"equal along x and y, found 0\.25 and 0\.5",
        ),
        (
            {
                "description": OME.format('PhysicalSizeX="0.5" PhysicalSizeY="0.5"'),
                "resolution": (40_000, 40_000),
                "resolutionunit": "CENTIMETER",
            },
            r"TIFF resolution tags states 0\.25 um per pixel, OME PhysicalSizeX states 0\.5",
        ),
        ({"description": OME.format('PhysicalSizeX="0" PhysicalSizeY="0"')}, "must be positive"),
        ({"description": OME.format('PhysicalSizeX="nan" PhysicalSizeY="0.5"')}, "must be positive"),
        ({"description": '<!DOCTYPE x [<!ENTITY a "b">]>' + OME.format("")}, "entities|cannot be read"),
    ],
)
def test_contradictions_about_the_resolution_are_errors(tmp_path, picture, options, message):
    path = write_tiff(tmp_path / "a.tif", picture, **options)

    with pytest.raises(ContractError, match=message):
        read_image(path)


def test_differences_by_rounding_are_no_contradiction(tmp_path, picture):
    description = OME.format('PhysicalSizeX="0.2500" PhysicalSizeY="0.2501"')
    path = write_tiff(
        tmp_path / "a.tif", picture, description=description, resolution=(39_990, 40_010), resolutionunit="CENTIMETER"
    )

    assert read_image(path).mpp == 0.25


def test_the_first_of_several_images_is_read_and_the_others_counted_without_reduced_copies(tmp_path, picture):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture, photometric="rgb", metadata=None)
        writer.write(picture[::2, ::2].copy(), photometric="rgb", metadata=None, subfiletype=1)
        writer.write(picture[::-1].copy(), photometric="rgb", metadata=None)

    image = read_image(path)

    np.testing.assert_array_equal(image.pixels, picture)
    assert image.counts == {"further_images": 1}


def test_images_of_an_array_are_read_by_their_row(tmp_path, picture):
    path = tmp_path / "images.npy"
    np.save(path, np.stack([picture, picture[::-1]]).astype(np.float64))

    np.testing.assert_array_equal(read_image(path, member="1").pixels, picture[::-1])
    for member in ("2", "-1", "", "x", "١"):
        with pytest.raises(ContractError, match=r"expected a row from 0 to 1"):
            read_image(path, member=member)


def test_scaled_or_fractional_images_of_an_array_are_refused(tmp_path, picture):
    for wrong in (picture / 255, picture + 300.0, picture - 1.0, picture * np.nan):
        np.save(tmp_path / "images.npy", wrong[None])

        with pytest.raises(ContractError, match=r"whole numbers 0\.\.255"):
            read_image(tmp_path / "images.npy", member="0")


def test_a_missing_file_a_folder_and_an_empty_file_are_named(tmp_path):
    (tmp_path / "empty.png").touch()

    with pytest.raises(MissingInputError, match=r"missing\.png: the file does not exist"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ContractError, match="found a folder"):
        read_image(tmp_path)
    with pytest.raises(ContractError, match=r"empty\.png: .*0 bytes.*Fix"):
        read_image(tmp_path / "empty.png")


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>", b"just text", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_web_pages_text_and_pointers_are_refused_with_their_start(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)

    with pytest.raises(ContractError, match=rf"a\.png: .*starts with b'{content[:9].decode()}.*Fix"):
        read_image(path)


def test_a_strip_that_is_missing_is_not_read_as_black(tmp_path, picture):
    path = write_tiff(tmp_path / "a.tif", picture, rowsperstrip=10, compression="lzw")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        place, size = tif.pages.first.tags["StripByteCounts"].valueoffset, tif.pages.first.tags["StripByteCounts"].dtype
    struct.pack_into("<H" if size == 3 else "<I", content, place + (2 if size == 3 else 4), 0)
    path.write_bytes(content)

    with pytest.raises(ContractError, match="truncated or incomplete"):
        read_image(path)


def test_an_image_larger_than_the_limit_is_refused_before_it_is_decoded(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(tiff, "LARGEST_PX", 1000)
    for suffix in ("png", "tif"):
        Image.fromarray(picture).save(tmp_path / f"a.{suffix}")

        with pytest.raises(ContractError, match=r"at most 1,000 pixels, found 70 x 50"):
            read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("side", [9_400, 20_000])
def test_a_header_that_claims_a_huge_picture_is_refused_with_the_way_out(tmp_path, picture, side):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, 16, side, side)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    path.write_bytes(content)

    with pytest.raises(ContractError, match=r"at most 80,000,000 pixels.*export the annotated regions"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jp2", "tif", "tiled.tif", "npy"])
def test_truncated_files_are_refused(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, picture)
    elif suffix == "tiled.tif":
        write_tiff(path, picture, tile=(16, 16), compression="jpeg")
    else:
        Image.fromarray(picture).save(path)
    content = path.read_bytes()

    for n in range(1, len(content) - 30, len(content) // 9):
        path.write_bytes(content[:n])

        with pytest.raises(ContractError, match=r"a\..*Fix"):
            read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jp2", "tif", "tiled.tif"])
def test_damaged_files_give_pixels_or_our_error_and_nothing_else(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "tiled.tif":
        write_tiff(path, picture, tile=(16, 16), compression="jpeg", description=OME.format('PhysicalSizeX="0.25"'))
    else:
        Image.fromarray(picture).save(path)
    content, rng = path.read_bytes(), np.random.default_rng(1)

    n_refused = 0
    for _ in range(80):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 700), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert read_image(path).pixels.ndim == 3
        except ContractError:
            n_refused += 1

    assert n_refused
