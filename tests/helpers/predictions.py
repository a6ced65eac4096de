"""Files of predictions, as tests compare them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def run_of(folder: Path) -> dict[str, Any]:
    """run.json of an image."""
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def features_of(folder: Path) -> list[dict[str, Any]]:
    """Nuclei of an image, as QuPath reads them."""
    found: list[dict[str, Any]] = json.loads((folder / "nuclei.geojson").read_text())["features"]
    return found


def results(folder: Path) -> dict[str, bytes]:
    """Every file of an image as bytes; run.json, and the page that shows it, are left out because they hold times."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in {"run.json", "report.html"}
    }
