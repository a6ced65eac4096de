"""A simulated slide: one piece of tissue on glass, as large as wanted, in a pyramidal OME-TIFF that says that it is simulated."""

from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
import tifffile
from jaxtyping import Float32, Int32, UInt8

from cellvit.data.simulate.architecture import lay_out
from cellvit.data.simulate.ground import GLASS, grow_tissue
from cellvit.data.simulate.nuclei import populate
from cellvit.data.simulate.organs import PROFILES
from cellvit.data.simulate.paint import paint_nuclei
from cellvit.data.simulate.scanner import absorb, photograph
from cellvit.data.simulate.texture import fractal_noise, soft_step
from cellvit.data.simulate.tile import choose_architecture
from cellvit.data.slides.simulated import SIMULATED_PHRASE
from cellvit.errors import ContractError
from cellvit.formats.atomic import replacing
from cellvit.taxonomy import ORGANS, TILE_MPP

SLIDE_PX: Final = (1500, 1200)
"""Width and height (decision): seven by six tiles, so that the demo predicts it in seconds."""

SMALLEST_PX: Final = 256  # a side shorter than a tile would be glass and border alone
LARGEST_PX: Final = 6000  # a square of this side needs about 4 GB of memory while it is simulated

_PYRAMID_STEP: Final = 4  # of each level to the next, as scanners write them
_TIFF_TILE_PX: Final = 256
_TISSUE: Final = 0.86  # half axes of the tissue over those of the slide; about 55 % of the slide are then tissue
_RAGGED: Final = 0.12  # by how much the border of the tissue deviates, as a share of these half axes
_RAGGED_PX: Final = 160.0  # width of these deviations
_RIM_PX: Final = 3.0  # width of the border of the tissue


class SimulatedSlide(NamedTuple):
    """A slide at 0.25 um per pixel, and its ground truth.

    Attributes:
        image: RGB, 0..255.
        labels: Nuclei of each class, numbered over all classes with gaps; 0 is background.
    """

    image: UInt8[np.ndarray, "h w 3"]
    labels: Int32[np.ndarray, "5 h w"]


def simulate_slide(organ: str, seed: int, *, width: int = SLIDE_PX[0], height: int = SLIDE_PX[1]) -> SimulatedSlide:
    """Tissue of an organ, surrounded by glass; the arguments alone decide it.

    It is made as one canvas, so that no borders of tiles show in it.

    Raises:
        ContractError: The organ is not one of PanNuke's, or a side is too short or too long.
    """
    _check(organ, width, height)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    profile, side = PROFILES[organ], max(width, height)
    layout = lay_out(choose_architecture(profile, rng, empty=False), side, rng)
    tissue = np.zeros((side, side), np.float32)
    tissue[:height, :width] = _piece(width, height, rng)
    nuclei = [one for one in populate(profile, layout, rng) if _is_within(tissue, one.body.y, one.body.x)]
    dyes, labels = paint_nuclei(grow_tissue(profile, layout, nuclei, rng), nuclei, rng)
    glass = np.zeros_like(dyes)
    glass[:2] = np.array(GLASS, np.float32)[:, None, None]
    on_glass = (glass + tissue * (dyes - glass))[:, :height, :width]
    return SimulatedSlide(photograph(absorb(on_glass, profile, rng), rng), labels[:, :height, :width])


def write_slide(path: Path, organ: str, seed: int, *, width: int = SLIDE_PX[0], height: int = SLIDE_PX[1]) -> None:
    """Write a simulated slide as a tiled, pyramidal OME-TIFF, which QuPath and OpenSlide open.

    Raises:
        ContractError: As `simulate_slide`; or the file exists and is not a simulated slide: it may be real data.
    """
    _refuse_real_data(path)
    levels = _levels(simulate_slide(organ, seed, width=width, height=height).image)
    options: dict[str, Any] = {
        "tile": (_TIFF_TILE_PX, _TIFF_TILE_PX),
        "compression": "zlib",
        "predictor": True,
        "photometric": "rgb",
        "metadata": None,
        "resolutionunit": "CENTIMETER",
    }
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as file:
        description = _ome_xml(path.name, organ, seed, levels[0].shape[:2])
        for number, level in enumerate(levels):
            per_cm = 10_000 / (TILE_MPP * levels[0].shape[1] / level.shape[1])
            place: dict[str, Any] = (
                {"subfiletype": 1} if number else {"description": description, "subifds": len(levels) - 1}
            )
            file.write(level, resolution=(per_cm, per_cm), **place, **options)


def _check(organ: str, width: int, height: int) -> None:
    if organ not in PROFILES:
        raise ContractError(
            f"organ {organ!r} cannot be simulated: expected one of {', '.join(ORGANS)}. Fix: choose one of them."
        )
    if not all(SMALLEST_PX <= side <= LARGEST_PX for side in (width, height)):
        raise ContractError(
            f"a simulated slide must have {SMALLEST_PX} to {LARGEST_PX} px on each side, found {width} x {height} px. "
            "Fix: choose another size."
        )


def _piece(width: int, height: int, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Tissue in the middle of a slide with a ragged border: 1 inside, 0 on glass."""
    y, x = np.ogrid[:height, :width]
    across, down = (x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1
    radius = (np.hypot(across, down) / _TISSUE).astype(np.float32)
    inside = 1 - radius * (1 + np.float32(_RAGGED) * fractal_noise(rng, (height, width), _RAGGED_PX))
    return soft_step(inside * np.float32(min(width, height) / 2), _RIM_PX)


def _is_within(tissue: Float32[np.ndarray, "h w"], y: float, x: float) -> bool:
    row, column = (min(max(int(place), 0), side - 1) for place, side in zip((y, x), tissue.shape, strict=True))
    return bool(tissue[row, column] > 0.99)


def _levels(pixels: UInt8[np.ndarray, "h w 3"]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The image and its reduced copies, the last of which fits into one tile of the file."""
    levels = [pixels]
    while max(levels[-1].shape[:2]) > _TIFF_TILE_PX:
        height, width = (side // _PYRAMID_STEP for side in levels[-1].shape[:2])
        reduced = cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(reduced, np.uint8))
    return levels


def _ome_xml(name: str, organ: str, seed: int, shape: tuple[int, ...]) -> str:
    """OME-XML of one RGB image; written here because tifffile's own has a random identifier in every file."""
    height, width = shape
    said = f"Simulated {organ}, seed {seed}, {SIMULATED_PHRASE}: no patient, no tissue."
    size = f'PhysicalSizeX="{TILE_MPP}" PhysicalSizeXUnit="um" PhysicalSizeY="{TILE_MPP}" PhysicalSizeYUnit="um"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0" Name={quoteattr(name.encode("ascii", "replace").decode())}>'
        f"<Description>{said}</Description>"
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" SizeC="3" SizeZ="1" '
        f'SizeT="1" Interleaved="true" {size.replace(chr(34) + "um", chr(34) + "&#181;m")}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )


def _refuse_real_data(path: Path) -> None:
    if not path.exists():
        return
    try:
        with tifffile.TiffFile(path) as file:
            simulated = SIMULATED_PHRASE in file.pages.first.description
    except (OSError, ValueError, tifffile.TiffFileError):
        simulated = False
    if not simulated:
        raise ContractError(
            f"{path}: expected no file, or a simulated slide, found another file. It may be real data and is not "
            "overwritten. Fix: choose another name."
        )
