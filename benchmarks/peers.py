"""Functions of other projects, taken unchanged from their checkouts.

Their packages import libraries that we do not install (numba, docopt), so each function is found by name in its source
file, and runs in a namespace of numpy, scipy, OpenCV and scikit-image, with its own helpers, which are found likewise.
No line of theirs is changed or stored here. None of these functions is compiled by numba in its project.
"""

import __future__

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import scipy
import scipy.spatial
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage import morphology, segmentation

from cellvit.errors import MissingInputError

Function = Callable[..., Any]

LIBRARIES: Final = MappingProxyType(
    {
        "cv2": cv2,
        "np": np,
        "scipy": scipy,
        "ndimage": ndimage,
        "ndi": ndimage,
        "measurements": ndimage,  # scipy.ndimage.measurements is deprecated; the same functions without its warnings
        "binary_fill_holes": ndimage.binary_fill_holes,
        "center_of_mass": ndimage.center_of_mass,
        "linear_sum_assignment": linear_sum_assignment,
        "morph": morphology,
        "segm": segmentation,
        "watershed": segmentation.watershed,
    }
)
"""Imports of the timed functions, by the names that they use."""


@dataclass(frozen=True, slots=True)
class Project:
    """Source of a project.

    Attributes:
        name: Its name in the table.
        url: Repository to clone.
        commit: The commit that docs/benchmarks.md measures.
    """

    name: str
    url: str
    commit: str


HOVER_NET: Final = Project(
    "HoVer-Net", "https://github.com/vqdang/hover_net", "67e2ce5e3f1a64a2ece77ad1c24233653a9e0901"
)
CELLVIT: Final = Project("CellViT", "https://github.com/TIO-IKIM/CellViT", "05097e18e3d194a65121042f631b5753069f5ee3")
PANNUKE_METRICS: Final = Project(
    "PanNuke-metrics",
    "https://github.com/TissueImageAnalytics/PanNuke-metrics",
    "c00014d766ca1be142b81bea19d9ef4315cde65a",
)
CELLSEG_MODELS: Final = Project(
    "cellseg_models", "https://github.com/okunator/cellseg_models.pytorch", "e13d78e5fa0431043ee7e83cbdd285f2691ded17"
)


PROJECTS: Final = MappingProxyType(
    {"hover_net": HOVER_NET, "cellvit": CELLVIT, "pannuke_metrics": PANNUKE_METRICS, "cellseg_models": CELLSEG_MODELS}
)
"""All of them, by the fields of `Peers`."""


class HoverNet(NamedTuple):
    """The authors' program of Graham et al. 2019."""

    hv: Function
    aji: Function
    aji_plus: Function
    pq: Function
    dice: Function
    watershed: Function
    centroids: Function
    pair: Function


class CellViT(NamedTuple):
    """The authors' program of Hörst et al. 2024."""

    hv: Function
    pair: Function


class PanNukeMetrics(NamedTuple):
    """The official metric of Gamper et al. 2020."""

    binarize: Function
    remap: Function
    pq: Function


class CellsegModels(NamedTuple):
    """okunator/cellseg_models.pytorch."""

    hv: Function
    pq: Function
    aji: Function
    post_process: Function


class Peers(NamedTuple):
    """The projects whose checkouts are given; None for the others."""

    hover_net: HoverNet | None = None
    cellvit: CellViT | None = None
    pannuke_metrics: PanNukeMetrics | None = None
    cellseg_models: CellsegModels | None = None


def load_hover_net(checkout: Path) -> HoverNet:
    """Functions of a checkout of vqdang/hover_net."""
    utils, space = checkout / "misc/utils.py", dict(LIBRARIES)
    extract(utils, ["get_bounding_box", "cropping_center", "remove_small_objects"], space, HOVER_NET)
    extract(checkout / "dataloader/augs.py", ["fix_mirror_padding"], space, HOVER_NET)
    (hv,) = extract(checkout / "models/hovernet/targets.py", ["gen_instance_hv_map"], space, HOVER_NET)
    names = ["get_fast_aji", "get_fast_aji_plus", "get_fast_pq", "get_dice_1", "pair_coordinates"]
    aji, aji_plus, pq, dice, pair = extract(checkout / "metrics/stats_utils.py", names, space, HOVER_NET)
    (watershed,) = extract(checkout / "models/hovernet/post_proc.py", ["__proc_np_hv"], space, HOVER_NET)
    (centroids,) = extract(utils, ["get_inst_centroid"], space, HOVER_NET)
    return HoverNet(hv, aji, aji_plus, pq, dice, watershed, centroids, pair)


def load_cellvit(checkout: Path) -> CellViT:
    """Functions of a checkout of TIO-IKIM/CellViT."""
    folder, space = checkout / "cell_segmentation", dict(LIBRARIES)
    tools = ["get_bounding_box", "remove_small_objects", "pair_coordinates"]
    *_, pair = extract(folder / "utils/tools.py", tools, space, CELLVIT)
    (hv,) = extract(folder / "datasets/pannuke.py", ["gen_instance_hv_map"], space, CELLVIT)
    return CellViT(hv, pair)


def load_pannuke_metrics(checkout: Path) -> PanNukeMetrics:
    """Functions of a checkout of TissueImageAnalytics/PanNuke-metrics."""
    names = ["binarize", "remap_label", "get_fast_pq"]
    return PanNukeMetrics(*extract(checkout / "utils.py", names, dict(LIBRARIES), PANNUKE_METRICS))


def load_cellseg_models(checkout: Path) -> CellsegModels:
    """Functions of a checkout of okunator/cellseg_models.pytorch."""
    folder, space = checkout / "cellseg_models_pytorch", dict(LIBRARIES)
    helpers = ["bounding_box", "remove_small_objects", "remove_debris_instance"]
    extract(folder / "utils/mask_utils.py", helpers, space, CELLSEG_MODELS)
    extract(folder / "transforms/functional/normalization.py", ["percentile_normalize99"], space, CELLSEG_MODELS)
    extract(folder / "metrics/binary_metrics.py", ["get_stats", "iou_score"], space, CELLSEG_MODELS)
    names = ["pairwise_pixel_stats", "pairwise_object_stats", "panoptic_quality", "aggregated_jaccard_index"]
    *_, pq, aji = extract(folder / "metrics/functional.py", names, space, CELLSEG_MODELS)
    (hv,) = extract(folder / "transforms/functional/hovernet.py", ["gen_hv_maps"], space, CELLSEG_MODELS)
    (post,) = extract(folder / "postproc/functional/hovernet.py", ["post_proc_hovernet"], space, CELLSEG_MODELS)
    return CellsegModels(hv, pq, aji, post)


def extract(path: Path, names: Sequence[str], namespace: dict[str, Any], project: Project) -> list[Function]:
    """Define functions of a source file in a namespace, and return them in the order of `names`.

    Methods are found too. Annotations are not evaluated; decorators are.

    Raises:
        MissingInputError: There is no such file, or it has no function of that name.
    """
    fix = f"Fix: git -C <checkout of {project.url}> checkout {project.commit}"
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; it should define {', '.join(names)} of {project.name}. {fix}")
    defined = {
        node.name: node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))
        if isinstance(node, ast.FunctionDef)
    }
    if absent := [name for name in names if name not in defined]:
        raise MissingInputError(f"{path}: {project.name} has no function {', '.join(absent)} in this file. {fix}")
    module = ast.Module([defined[name] for name in names], [])
    flags = __future__.annotations.compiler_flag
    exec(compile(module, str(path), "exec", flags), namespace)
    return [namespace[name] for name in names]
