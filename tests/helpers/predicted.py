"""Predicted images for tests of the outputs: square nuclei at given places in an image in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from cellvit.data.slides.area import Area
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.view import view_of
from cellvit.formats.calibration import CountBound
from cellvit.formats.dataset import PANNUKE, DataSet
from cellvit.formats.nuclei import NucleiTable, Outlines
from cellvit.formats.prediction import ImageFacts, OrganChoice, SlideRun
from cellvit.formats.provenance import Provenance
from cellvit.prediction.outputs.counts import class_counts
from cellvit.prediction.result import PredictedImage


class ArraySlide:
    """An image in memory as a slide."""

    def __init__(self, pixels: np.ndarray, mpp: float) -> None:
        self.pixels, self.path = pixels, Path("in_memory.png")
        self.height, self.width = pixels.shape[:2]
        self.mpp, self.mpp_source = mpp, "--mpp"
        self.kind, self.downsamples, self.notes = "array", (1.0,), ()

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> np.ndarray:  # noqa: ARG002
        read = np.full((height, width, 3), 255, np.uint8)
        rows = slice(max(y, 0), min(y + height, self.height))
        columns = slice(max(x, 0), min(x + width, self.width))
        read[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = self.pixels[rows, columns]
        return read

    def close(self) -> None:
        """Nothing is open."""


def square_nuclei(places: np.ndarray, classes: Sequence[int], *, side: int = 8, n_classes: int = 5) -> NucleiTable:
    """Nuclei that are squares around these whole pixels (x, y), with a probability of 0.8 of their class."""
    n, half = len(places), side // 2
    numbers = np.asarray(classes, np.uint8)
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    probability = np.full((n, n_classes), 0.2 / max(n_classes - 1, 1), np.float32)
    probability[np.arange(n), numbers.astype(int) - 1] = 0.8
    same = {
        name: np.full(n, 0.5, np.float32) for name in ("eccentricity", "solidity", "hematoxylin", "eosin", "centre_px")
    }
    return NucleiTable(
        x=places[:, 0].astype(float),
        y=places[:, 1].astype(float),
        row=np.zeros(n, np.int32),
        column=np.zeros(n, np.int32),
        owned=np.ones(n, bool),
        cut=np.zeros(n, bool),
        nucleus_class=numbers,
        probability=probability,
        area_px=np.full(n, side * side, np.int32),
        perimeter_px=np.full(n, 4.0 * side, np.float32),
        orientation=np.full(n, -30.0, np.float32),
        unlike=np.arange(n) % 2 == 1,
        outlines=Outlines(
            points=(2 * (places[:, None] + corners)).reshape(-1, 2).astype(np.int32),
            ring_starts=np.arange(0, 4 * n + 1, 4).astype(np.int64),
            ring_nucleus=np.arange(n),
            ring_is_hole=np.zeros(n, bool),
        ),
        **same,
    )


def predicted(
    chunks: Sequence[NucleiTable],
    pixels: np.ndarray,
    *,
    data_set: DataSet = PANNUKE,
    geometry: shapely.Geometry | None = None,
    **changes: object,
) -> PredictedImage:
    """The prediction of an image at the resolution of the models.

    Args:
        geometry: Analysed area; the whole image by default.
        changes: Fields of the run.
    """
    height, width = pixels.shape[:2]
    area = Area(shapely.box(0, 0, width, height) if geometry is None else geometry, "the whole image")
    model_pixels = ModelPixels(ArraySlide(pixels, data_set.mpp), data_set.mpp)
    run = run_of(chunks, data_set, (width, height), area.area_mm2(data_set.mpp), **changes)
    return PredictedImage(
        run=run,
        nuclei=lambda: iter(chunks),
        view=view_of(model_pixels, area, 2400),
        area=area,
        unlike_boxes=np.array([[0.0, 0.0, width / 3, height / 3]]) if run.n_unlike else np.empty((0, 4)),
        data_set=data_set,
        pixels=model_pixels,
    )


def run_of(
    chunks: Sequence[NucleiTable], data_set: DataSet, size: tuple[int, int], area_mm2: float, **changes: object
) -> SlideRun:
    """What was predicted for an image of this width and height."""
    numbers = np.concatenate([np.empty(0, np.uint8), *(chunk.nucleus_class for chunk in chunks)])
    by_class = np.bincount(numbers, minlength=data_set.n_classes + 1)[1:].tolist()
    names = data_set.class_names[1:]
    bounds = [CountBound(class_name=name, share=0.25, n_units=20) for name in ("all", *names)]
    fields = {
        "provenance": Provenance(data_set=data_set),
        "image": ImageFacts(
            name="slide 1.svs",
            width=size[0],
            height=size[1],
            mpp=data_set.mpp,
            mpp_source="Aperio MPP",
            scale=1.0,
            kind="Aperio slide (OpenSlide 4.0.1)",
        ),
        "models": {"PanNuke, split 1": "ab" * 32},
        "licence": data_set.licence_of_weights,
        "commercial_use": data_set.commercial_use,
        "settings": {"overlap_px": 128, "organ": None},
        "organ": OrganChoice(
            organ="Breast", chosen_by="predicted", votes={"Breast": 0.8}, n_tiles=20, decoder="glandular"
        ),
        "area": "the whole image",
        "area_mm2": area_mm2,
        "n_tiles": 25,
        "n_judged": 25,
        "n_nuclei": len(numbers),
        "counts": class_counts(dict(zip(names, by_class, strict=True)), [bounds], area_mm2=area_mm2),
        "count_level": 0.9,
        "count_unit": "patient",
        "computed_on": "CPU",
        "versions": {"torch": "2.10"},
        "seconds": {"encoding": 12.0},
    }
    return SlideRun.model_validate(fields | changes)
