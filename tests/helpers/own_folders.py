"""Small users' data sets: tissue with dark disks as nuclei, and their annotations in two formats."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

Disk = tuple[int, int, int, str]
"""Centre x and y and radius in pixels, and the class as the annotation writes it."""

DISKS: tuple[Disk, ...] = (
    (40, 40, 12, "Neuron"),
    (100, 30, 8, "Glia"),
    (90, 90, 12, "Neuron"),
    (30, 100, 7, "Glia"),
    (64, 64, 9, "Glia"),
    (100, 60, 7, "Neuron"),
)

DESCRIPTION = """\
name: Brain
mpp: 0.5
classes:
  - {name: Neuron, color: "#f0e442"}
  - {name: Glia, color: "#35e0f0"}
licence: CC BY 4.0
annotations: {kind: KIND}
"""


def label_map(disks: Sequence[Disk], side: int = 128) -> np.ndarray:
    """Ids 1, 2, ... of disks that do not overlap."""
    labels = np.zeros((side, side), np.uint16)
    for number, (x, y, radius, _) in enumerate(disks, 1):
        cv2.circle(labels, (x, y), radius, number, cv2.FILLED)
    return labels


def tissue(disks: Sequence[Disk], side: int = 128, seed: int = 0) -> np.ndarray:
    """Eosin-coloured noise with hematoxylin-coloured disks."""
    rng = np.random.default_rng(seed)
    pixels = np.array([231, 175, 205]) + rng.normal(0, 6, (side, side, 1))
    inside = label_map(disks, side) > 0
    pixels[inside] = np.array([105, 75, 150]) + rng.normal(0, 6, (int(inside.sum()), 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def feature(ring: Sequence[Sequence[float]], name: str = "") -> dict:
    """A polygon as QuPath writes it."""
    properties: dict = {"objectType": "annotation"}
    if name:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    closed = [*map(list, ring), list(ring[0])]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [closed]}, "properties": properties}


def disk_feature(disk: Disk) -> dict:
    """A disk as a polygon of QuPath."""
    x, y, radius, name = disk
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([x + 0.5 + radius * np.cos(angles), y + 0.5 + radius * np.sin(angles)], axis=1)
    return feature(np.round(ring, 2).tolist(), name)


def write_geojson(path: Path, features: Sequence[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))


def write_image(path: Path, pixels: np.ndarray, mpp: float | None = None) -> None:
    """An image, with its resolution where `mpp` is given (TIFF only)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"dpi": (25_400 / mpp,) * 2} if mpp else {}
    Image.fromarray(pixels).save(path, **options)


def write_label_map(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def geojson_folder(root: Path, n: int = 2) -> Path:
    """Images 0.png, 1.png, ... with GeoJSON, not described yet."""
    for number in range(n):
        write_image(root / f"{number}.png", tissue(DISKS, seed=number))
        write_geojson(root / f"{number}.geojson", [disk_feature(disk) for disk in DISKS])
    return root


def described_folder(root: Path, n: int = 2, *, kind: str = "geojson") -> Path:
    """`geojson_folder` with its description and its table."""
    geojson_folder(root, n)
    (root / "dataset.yaml").write_text(DESCRIPTION.replace("KIND", kind))
    lines = "".join(f"{number}.png,{number}.geojson,P{number}\n" for number in range(n))
    (root / "tiles.csv").write_text(f"image,annotation,patient\n{lines}")
    return root
