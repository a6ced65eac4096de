"""Which nuclei change if the grid of tiles is moved: pixels are cropped off the left and top of an image.

    python benchmarks/borders.py IMAGE --model BUNDLE [--moves 128 64 37] [--overlaps 128 64] [--glass 1088]

The whole image and the cropped one are predicted. In the interior that both have (128 px and more from every border of the
cropped image), each nucleus of one is compared with the nuclei of the other: it is unchanged if another one has the same
class and an IoU of at least 0.9, moved if it has the same class and an IoU above 0.5, of another class if an IoU above 0.5
alone, and else it is in one of the two images only. All that are not unchanged or moved count as changed, and are listed.

With --glass, everything from this column on is replaced by empty glass, and the nuclei that lie 16 to 256 px left of it are compared
with those of the whole image: so much does an empty part of a tile change the nuclei beside it.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import shapely
from PIL import Image

from cellvit.config.prediction import PredictionSettings
from cellvit.formats.bundle import read_bundle
from cellvit.formats.prediction import NUCLEI
from cellvit.prediction.images import Prediction
from cellvit.prediction.request import Request

MARGIN_PX = 128
BESIDE_GLASS_PX = (256, 16)
GLASS = 240
SAME_IOU, MATCH_IOU = 0.9, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="image at the resolution of the models")
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle")
    parser.add_argument("--organ", help="organ of the image (default: predicted, for the whole image)")
    parser.add_argument("--moves", type=int, nargs="*", default=[128, 64, 37], help="px that are cropped")
    parser.add_argument("--overlaps", type=int, nargs="+", default=[128, 64], help="px of overlap")
    parser.add_argument(
        "--glass", type=int, metavar="PX", help="column from which on there is glass (default: no glass)"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    bundle = read_bundle(args.model)
    prediction = Prediction((bundle,), "auto", threads=args.threads)
    pixels = np.asarray(Image.open(args.image).convert("RGB"))
    for overlap_px in args.overlaps:
        settings = PredictionSettings(
            mpp=bundle.document.dataset.mpp, organ=args.organ, overlap_px=overlap_px, area="whole"
        )
        whole = predicted(pixels, prediction, settings)
        height, width = pixels.shape[:2]
        if args.glass is not None:
            with_glass = pixels.copy()
            with_glass[:, args.glass :] = GLASS
            left, right = (args.glass - px for px in BESIDE_GLASS_PX)
            beside = shapely.box(left, MARGIN_PX, right, height - MARGIN_PX)
            what = f"overlap {overlap_px} px, beside glass"
            report(whole, predicted(with_glass, prediction, settings), beside, what)
        for move in args.moves:
            cropped = predicted(pixels[move:, move:], prediction, settings)
            inner = shapely.box(move + MARGIN_PX, move + MARGIN_PX, width - MARGIN_PX, height - MARGIN_PX)
            what = f"overlap {overlap_px} px, moved by {move} px"
            report(whole, moved(cropped, move), inner, what)


def predicted(
    pixels: np.ndarray, prediction: Prediction, settings: PredictionSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Polygons and classes of the nuclei of an image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.png")
        Image.fromarray(pixels).save(path)
        failed = prediction.images([Request(path=path, name="image", settings=settings)], lambda _: Path(folder, "out"))
        assert not failed, failed
        features = json.loads(Path(folder, "out", NUCLEI).read_text())["features"]
    polygons = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
    return np.array(polygons), np.array([feature["properties"]["classification"]["name"] for feature in features])


def moved(nuclei: tuple[np.ndarray, np.ndarray], px: int) -> tuple[np.ndarray, np.ndarray]:
    return shapely.transform(nuclei[0], lambda points: points + px), nuclei[1]


def report(
    whole: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], inner: shapely.Geometry, what: str
) -> None:
    """Print how the nuclei of the whole image and of another prediction differ, and where."""
    kinds: Counter[str] = Counter()
    lines = []
    for (polygons, classes), against, name in ((whole, other, "whole"), (other, whole, "other")):
        centroids = shapely.centroid(polygons)
        inside = np.flatnonzero(shapely.contains(inner, centroids))
        tree = shapely.STRtree(against[0])
        for number in inside.tolist():
            kind = kind_of(polygons[number], classes[number], against, tree)
            kinds[kind if kind in {"unchanged", "moved", "other class"} else f"only in {name}"] += 1
            if kind not in {"unchanged", "moved"}:
                at = centroids[number]
                lines.append(f"    {kind}, {name} image: {classes[number]} at {at.x:.0f}, {at.y:.0f}")
    n = sum(kinds.values()) / 2
    only = kinds["only in whole"] + kinds["only in other"]
    changed = only + kinds["other class"] / 2
    print(f"{what}: {n:.0f} nuclei; changed {changed:.0f} ({changed / n:.2%}): " + ", ".join(
        f"{kind} {count}" for kind, count in sorted(kinds.items())
    ))  # fmt: skip
    print("\n".join(lines))


def kind_of(polygon: shapely.Geometry, name: str, against: tuple[np.ndarray, np.ndarray], tree: shapely.STRtree) -> str:
    near = tree.query(polygon)
    if not len(near):
        return "in one image only"
    shared = shapely.area(shapely.intersection(polygon, against[0][near]))
    iou = shared / (shapely.area(polygon) + shapely.area(against[0][near]) - shared)
    best = int(iou.argmax())
    if iou[best] <= MATCH_IOU:
        return "in one image only"
    if against[1][near[best]] != name:
        return "other class"
    return "unchanged" if iou[best] >= SAME_IOU else "moved"


if __name__ == "__main__":
    main()
