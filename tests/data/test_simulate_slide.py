"""The simulated slide: decided by its seed, tissue on glass, readable by other programs, and marked as simulated."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from cellvit.__main__ import main
from cellvit.data.images import read_image
from cellvit.data.simulate.slide import simulate_slide, write_slide
from cellvit.data.slides.simulated import SIMULATED_NOTE, simulated_notes
from cellvit.errors import ContractError

SIZE = {"width": 520, "height": 300}


def test_the_same_seed_gives_the_same_file_and_another_seed_another_one(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_slide(tmp_path / name / "slide.ome.tif", "Colon", seed, **SIZE)

    first, again, other = (tmp_path / name / "slide.ome.tif" for name in "abc")
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_tissue_lies_on_glass_that_reaches_the_corners() -> None:
    pixels, labels = simulate_slide("Breast", 3, **SIZE)

    corners = np.stack([pixels[:8, :8], pixels[:8, -8:], pixels[-8:, :8], pixels[-8:, -8:]])
    assert pixels.shape == (300, 520, 3)
    assert corners.min() > 200
    assert np.ptp(corners.mean(axis=(1, 2)), axis=1).max() < 12  # glass has no colour
    assert labels.shape == (5, 300, 520)
    assert not labels[:, :8, :8].any()
    assert pixels[labels.any(axis=0)].mean() < 0.9 * pixels.mean()
    assert 0.4 < (pixels.min(axis=2) < 200).mean() < 0.8


def test_other_programs_read_size_resolution_and_reduced_copies(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    write_slide(path, "Kidney", 0, **SIZE)

    with tifffile.TiffFile(path) as file:
        shapes = [level.shape for level in file.series[0].levels]
        is_ome = file.is_ome
    with openslide.OpenSlide(path) as slide:
        size, mpp = slide.dimensions, float(slide.properties["openslide.mpp-x"])
    ours = read_image(path)
    assert (is_ome, shapes) == (True, [(300, 520, 3), (75, 130, 3)])
    assert (size, mpp) == ((520, 300), 0.25)
    assert (ours.mpp, ours.mpp_source) == (0.25, "OME PhysicalSizeX")
    np.testing.assert_array_equal(ours.pixels, simulate_slide("Kidney", 0, **SIZE).image)


def test_the_description_says_that_the_slide_is_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slide & <one>.ome.tif"

    code = main(["simulate_slide", str(path), "--width", "300", "--height", "260", "--seed", "5"])

    with tifffile.TiffFile(path) as file:
        description = file.pages.first.description
    assert code == 0
    assert "300 x 260 px, Colon" in capsys.readouterr().out
    assert simulated_notes(description) == (SIMULATED_NOTE,)
    assert simulated_notes("Aperio Image Library") == ()


def test_a_simulated_slide_is_replaced_and_any_other_file_is_not(tmp_path: Path) -> None:
    path, real = tmp_path / "slide.ome.tif", tmp_path / "real.tif"
    write_slide(path, "Colon", 0, **SIZE)
    write_slide(path, "Colon", 1, **SIZE)
    tifffile.imwrite(real, np.zeros((16, 16, 3), np.uint8))

    for other in (real, tmp_path / "text.tif"):
        (tmp_path / "text.tif").write_text("no image")
        before = other.read_bytes()
        with pytest.raises(ContractError, match="may be real data"):
            write_slide(other, "Colon", 0, **SIZE)
        assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("organ", "size", "said"),
    [
        ("Brain", SIZE, "'Brain' cannot be simulated: expected one of Adrenal_gland"),
        ("Colon", {"width": 100, "height": 300}, "256 to 6000 px on each side, found 100 x 300"),
    ],
)
def test_what_cannot_be_simulated_is_refused(tmp_path: Path, organ: str, size: dict[str, int], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        write_slide(tmp_path / "slide.ome.tif", organ, 0, **size)

    assert not list(tmp_path.iterdir())
