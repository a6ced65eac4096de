"""Time and memory of reading outlines: images of 512 px with 100 nuclei from GeoJSON.

    python benchmarks/annotations.py --images 1000

Peak memory is printed after a tenth of the images and after all: it must not grow with their number.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.options import Options, Place
from cellvit.systems import peak_memory_bytes

SIDE_PX: Final = 512
POINTS: Final = 60
"""Of an outline; those of QuPath's detections of nuclei at 0.25 um per pixel have 30 to 70."""


def write_image(path: Path, nuclei: int, rng: np.random.Generator) -> None:
    """A file of irregular outlines with a radius of 8 to 14 px, as QuPath writes them."""
    angle = np.linspace(0, 2 * np.pi, POINTS)
    features = []
    for _ in range(nuclei):
        radius = rng.uniform(8, 14) * (1 + 0.1 * np.sin(rng.integers(2, 6) * angle + rng.uniform(0, 6)))
        points = rng.uniform(0, SIDE_PX, 2) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points[-1] = points[0]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [points.round(2).tolist()]},
                "properties": {"objectType": "detection", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def peak_mb() -> float:
    """Peak memory of this process so far."""
    return peak_memory_bytes() / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--nuclei", type=int, default=100)
    arguments = parser.parse_args()

    rng, seconds, found = np.random.default_rng(0), 0.0, 0
    print("| images | nuclei | CPU seconds | peak memory, MB |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.geojson"
        for number in range(1, arguments.images + 1):
            write_image(path, arguments.nuclei, rng)
            start = time.process_time()
            found += len(read_geojson(path, (SIDE_PX, SIDE_PX), Options(), Place()).classes)
            seconds += time.process_time() - start
            if number in (max(1, arguments.images // 10), arguments.images):
                print(f"| {number} | {found} | {seconds:.1f} | {peak_mb():.0f} |")


if __name__ == "__main__":
    main()
