"""Micrometres per pixel: from the file, from the user, or not known."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from slides import write_pyramid

from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide
from cellvit.errors import ContractError, SettingsError

SOURCES = {"tiff": "TIFF resolution tags", "ome": "OME PhysicalSizeX", "aperio": "Aperio resolution"}


def write_contradicting(path, picture):
    """OME-XML says 0.25, the tags say 0.5."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(
            picture,
            tile=(256, 256),
            photometric="rgb",
            metadata={"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25},
            resolution=(20_000, 20_000),
            resolutionunit="CENTIMETER",
        )
    return path


@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
def test_the_file_states_the_resolution_or_nobody(tmp_path, opened, picture, kind):
    stated = opened(write_pyramid(tmp_path / "a.tif", picture, 0.4621, kind=kind))
    unknown = opened(write_pyramid(tmp_path / "b.tif", picture, None, kind=kind))

    assert (stated.mpp, stated.mpp_source) == (pytest.approx(0.4621, rel=1e-6), SOURCES[kind])
    assert (unknown.mpp, unknown.mpp_source) == (None, "")
    with pytest.raises(SettingsError, match=r"b\.tif: the file does not state its resolution.*Fix: .*--mpp 0\.25"):
        ModelPixels(unknown, 0.25)


@pytest.mark.parametrize("kind", ["tiff", "ome", "aperio"])
def test_the_user_wins_and_a_difference_is_noted(tmp_path, opened, picture, kind):
    path = write_pyramid(tmp_path / "a.tif", picture, 0.5, kind=kind)

    same, other = opened(path, 0.502), opened(path, 0.25)

    assert (same.mpp, same.mpp_source, same.notes) == (0.502, "--mpp", ())
    assert (other.mpp, other.mpp_source) == (0.25, "--mpp")
    assert other.notes == (f"The file states 0.5 um per pixel ({SOURCES[kind]}), --mpp states 0.25: 0.25 is used.",)


def test_entries_that_contradict_each_other_are_an_error_unless_the_user_decides(tmp_path, opened, picture):
    path = write_contradicting(tmp_path / "a.tif", picture)

    with pytest.raises(ContractError, match=r"a\.tif: the file contradicts itself: .* 0\.25 .* 0\.5.*--mpp"):
        open_slide(path)
    slide = opened(path, 0.25)

    assert slide.mpp == 0.25
    assert slide.notes == (
        "The file states 0.5 um per pixel (OME PhysicalSizeX, TIFF resolution tags), --mpp states 0.25: 0.25 is used.",
    )


def test_resolutions_of_prints_say_nothing(tmp_path, opened, picture):
    image, slide = tmp_path / "a.png", tmp_path / "a.tif"
    Image.fromarray(picture).save(image, dpi=(300, 300))
    tifffile.imwrite(slide, picture, tile=(256, 256), photometric="rgb", resolution=(72, 72), resolutionunit="INCH")

    assert opened(image).mpp is None
    assert opened(slide).mpp is None


def test_pixels_that_are_not_square_are_refused(tmp_path, picture):
    path = tmp_path / "a.tif"
    options = {"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, picture, tile=(256, 256), photometric="rgb", metadata=None, **options)

    with pytest.raises(ContractError, match=r"must be equal along x and y, found 0\.25 and 0\.5"):
        open_slide(path)


@pytest.mark.parametrize("mpp", [0.0, -0.25, np.nan, np.inf])
def test_a_resolution_that_is_no_positive_number_is_refused(tmp_path, picture, mpp):
    path = write_pyramid(tmp_path / "a.tif", picture, 0.25)

    with pytest.raises(SettingsError, match=r"--mpp: expected .* a positive number"):
        open_slide(path, mpp=mpp)
