"""Nuclei as they are written: ids, positions in px of level 0 and in um, class, probabilities and measurements."""

import uuid
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int32

from cellvit.formats.dataset import DataSet
from cellvit.formats.nuclei import NucleiTable
from cellvit.prediction.result import PredictedImage

_IDS: Final = uuid.UUID("4f6b2f5e-0d6f-5c55-9d6a-6b1c0b6f3a10")
"""Namespace of the ids of nuclei (chosen at random once, as RFC 9562 asks)."""

_DECIMALS: Final = {
    "x_px": 2,
    "y_px": 2,
    "x_um": 3,
    "y_um": 3,
    "probability": 4,
    "area_um2": 2,
    "perimeter_um": 2,
    "eccentricity": 3,
    "solidity": 3,
    "orientation_deg": 1,
    "hematoxylin_mean": 4,
    "eosin_mean": 4,
    "nearest_um": 2,
}
"""Digits after the point (decision): finer than the pixels from which the values were measured."""


def probability_column(key: str) -> str:
    """Column with the probability of a class.

    Examples:
        >>> probability_column("neoplastic")
        'probability_neoplastic'
    """
    return f"probability_{key}"


def columns_of(data_set: DataSet) -> tuple[str, ...]:
    """Columns of the table of nuclei, in order."""
    names = list(_DECIMALS)
    of_classes = [probability_column(key) for key in data_set.class_keys]
    after = names.index("probability") + 1
    return ("id", *names[:4], "class", "probability", *of_classes, *names[after:], "unlike_training", "licence")


def measured(table: NucleiTable, nearest_um: Float32[np.ndarray, " n"], image: PredictedImage) -> pd.DataFrame:
    """The table of some nuclei with the columns of `columns_of`; numbers are rounded, so that all files have the same.

    Args:
        nearest_um: Distance of each to the nearest other nucleus of the image.
    """
    scale, mpp = image.run.image.scale, image.model_mpp
    x_px, y_px = (_rounded("x_px", table.x * scale), _rounded("y_px", table.y * scale))
    numbers = {
        "x_px": x_px,
        "y_px": y_px,
        "x_um": table.x * mpp,
        "y_um": table.y * mpp,
        "probability": table.probability[np.arange(len(table)), table.nucleus_class.astype(int) - 1],
        "area_um2": table.area_px * mpp**2,
        "perimeter_um": table.perimeter_px * mpp,
        "eccentricity": table.eccentricity,
        "solidity": table.solidity,
        "orientation_deg": table.orientation,
        "hematoxylin_mean": table.hematoxylin,
        "eosin_mean": table.eosin,
        "nearest_um": nearest_um,
    }
    columns: dict[str, object] = {name: _rounded(name, values) for name, values in numbers.items()}
    for key, values in zip(image.data_set.class_keys, table.probability.T, strict=True):
        columns[probability_column(key)] = _rounded("probability", values)
    columns["id"] = ids_of(image.run.image.name, x_px, y_px, table.area_px)
    columns["class"] = np.array(image.data_set.class_names, object)[table.nucleus_class]
    columns["unlike_training"] = table.unlike
    columns["licence"] = licence_word(image.run.commercial_use)
    return pd.DataFrame(columns, columns=list(columns_of(image.data_set)), index=range(len(table)))


def ids_of(
    name: str, x_px: Float64[np.ndarray, " n"], y_px: Float64[np.ndarray, " n"], area_px: Int32[np.ndarray, " n"]
) -> list[str]:
    """Ids of nuclei: the same image and the same nucleus always give the same id.

    Args:
        name: Name of the image.
        x_px, y_px: Centroids, rounded as they are written. The area tells a nucleus from one that surrounds it.
    """
    places = zip(x_px.tolist(), y_px.tolist(), area_px.tolist(), strict=True)
    return [str(uuid.uuid5(_IDS, f"{name}\n{x:.2f} {y:.2f} {area}")) for x, y, area in places]


def licence_word(commercial_use: bool | None) -> str:
    """What the licences of the models mean for a value, in three words."""
    words = {True: "commercial use allowed", False: "no commercial use", None: "commercial use not known"}
    return words[commercial_use]


def _rounded(name: str, values: np.ndarray) -> np.ndarray:
    """Values as written; adding 0 turns a negative zero into zero."""
    rounded: np.ndarray = np.round(np.asarray(values, np.float64), _DECIMALS[name]) + 0.0
    return rounded
