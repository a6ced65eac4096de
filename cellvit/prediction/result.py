"""The prediction of one image, before it is written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from cellvit.data.slides.area import Area
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.view import View
from cellvit.formats.dataset import DataSet
from cellvit.formats.nuclei import NucleiTable
from cellvit.formats.prediction import SlideRun


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedImage:
    """The prediction of one image; its nuclei are read chunk by chunk, so that memory does not grow with the image.

    Attributes:
        run: What was predicted, without the digests of the files that are still to be written.
        nuclei: Starts reading the nuclei from the first on: merged and inside the area, in the order of the output.
        view: What the pictures show.
        area: The part of the image that was analysed, in px of level 0.
        unlike_boxes: Left, top, right and bottom of tiles that are unlike the training data, in px of level 0.
        data_set: Classes, colours and resolution of the models.
        pixels: The image at the resolution of the models.
    """

    run: SlideRun
    nuclei: Callable[[], Iterator[NucleiTable]]
    view: View
    area: Area
    unlike_boxes: Float64[np.ndarray, "k 4"]
    data_set: DataSet
    pixels: ModelPixels

    @property
    def model_mpp(self) -> float:
        """Micrometres per px of the model in this image; the data set's resolution up to the tolerance of resampling."""
        return self.run.image.mpp * self.run.image.scale

    @property
    def mm2_per_px(self) -> float:
        """Area of a px of level 0 in square millimetres."""
        return (self.run.image.mpp / 1000) ** 2
