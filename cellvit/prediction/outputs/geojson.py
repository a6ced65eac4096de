"""Nuclei as GeoJSON that QuPath opens as detections, written as a stream with one nucleus on each line.

The classes have their colours, and the measurements are those of QuPath where it has the same. Coordinates are px of level 0.
The collection has a member "cellvit" that says which models made it and what their licences mean; QuPath ignores it.

References:
    GeoJSON and foreign members: RFC 7946, section 6.1. How QuPath 0.5 and 0.6 read objects, also compressed with gzip:
    qupath-core, PathIO.readObjectsFromGeoJSON, PathObjectTypeAdapters and GsonTools.PathClassTypeAdapter.
"""

import gzip
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pandas as pd
import shapely

from cellvit.formats.atomic import replacing
from cellvit.formats.dataset import DataSet
from cellvit.formats.prediction import SlideRun
from cellvit.prediction.outputs.measured import probability_column

_MEASUREMENTS: Final = {
    "area_um2": "Area µm^2",
    "perimeter_um": "Perimeter µm",
    "eccentricity": "Eccentricity",
    "solidity": "Solidity",
    "orientation_deg": "Orientation °",
    "hematoxylin_mean": "Hematoxylin OD mean",
    "eosin_mean": "Eosin OD mean",
    "nearest_um": "Nearest nucleus µm",
    "unlike_training": "Unlike training data",
}
"""Names of measurements in QuPath, by the column of the table; area and solidity are spelled as QuPath spells them."""

_COMPRESSION: Final = 4
"""Level of gzip: 9 takes eight times as long and saves an eighth (measured on 10 MB of outlines)."""

_GZIP: Final = ".gz"


class GeoJsonWriter:
    """Writes features to a file that is open; the separator between features is all that it remembers."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, data_set: DataSet) -> None:
        """Write to `file` the nuclei of classes of this data set."""
        self._file, self._separator = file, b"\n"
        self._names = _measurement_names(data_set)
        self._classes = {
            name: json.dumps({"name": name, "color": list(bytes.fromhex(color[1:]))}, separators=(",", ":"))
            for name, color in data_set.color_of.items()
        }

    def write(self, nuclei: pd.DataFrame, polygons: np.ndarray) -> None:
        """Append nuclei.

        Args:
            nuclei: Columns of `cellvit.prediction.outputs.measured`.
            polygons: A valid polygon, or rarely several, of each in px of level 0, rounded.
        """
        for feature in self._features(nuclei, polygons):
            self._file.write(self._separator + feature.encode("ascii"))
            self._separator = b",\n"

    def _features(self, nuclei: pd.DataFrame, polygons: np.ndarray) -> Iterator[str]:
        numbers = nuclei[list(self._names)].astype(float)
        template = ",".join(
            f"{json.dumps(name)}:%r".replace("%", "%%").replace("%%r", "%r") for name in self._names.values()
        )
        defined = np.isfinite(numbers.to_numpy()).all(axis=1)
        values = zip(*(numbers[column].tolist() for column in numbers), strict=True)
        rows = zip(nuclei["id"], nuclei["class"], shapely.to_geojson(polygons), values, defined, strict=True)
        for name, of_class, geometry, row, is_defined in rows:
            measurements = template % row if is_defined else self._without_undefined(row)
            yield (
                f'{{"type":"Feature","id":"{name}","geometry":{geometry},"properties":{{"objectType":"detection",'
                f'"classification":{self._classes[of_class]},"measurements":{{{measurements}}}}}}}'
            )

    def _without_undefined(self, row: tuple[float, ...]) -> str:
        """Measurements without those that JSON has no number for: QuPath shows none for the nucleus then."""
        known = {name: value for name, value in zip(self._names.values(), row, strict=True) if math.isfinite(value)}
        return json.dumps(known, separators=(",", ":"))[1:-1]


@contextmanager
def geojson_writer(path: Path, run: SlideRun) -> Iterator[GeoJsonWriter]:
    """Yield a writer; the file appears, whole, when the block ends without an error. A name with .gz is compressed.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary, ExitStack() as stack:
        file: IO[bytes] | gzip.GzipFile = stack.enter_context(temporary.open("wb"))
        if path.name.endswith(_GZIP):
            # Neither a name nor a time in the header, so that equal nuclei give equal bytes.
            file = stack.enter_context(gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0))
        described = json.dumps(description_of(run))
        file.write(f'{{"type":"FeatureCollection","cellvit":{described},"features":['.encode("ascii"))
        yield GeoJsonWriter(file, run.dataset)
        file.write(b"\n]}\n")


def description_of(run: SlideRun) -> Mapping[str, Any]:
    """What a reader of the file must know of the models and of the image."""
    return {
        "software": run.provenance.software,
        "image": run.image.name,
        "width": run.image.width,
        "height": run.image.height,
        "mpp": run.image.mpp,
        "coordinates": "pixels of the full resolution from the top left corner of the image",
        "models": run.models,
        "licence": run.licence,
        "commercial_use": run.commercial_use,
        "marks": list(run.provenance.marks),
        "n_nuclei": run.n_nuclei,
    }


def _measurement_names(data_set: DataSet) -> dict[str, str]:
    """Names of all measurements by column: the probabilities first."""
    classes = zip(data_set.class_keys, data_set.class_names[1:], strict=True)
    of_classes = {probability_column(key): f"Probability: {name}" for key, name in classes}
    return {"probability": "Probability", **of_classes, **_MEASUREMENTS}
