"""What the tests of rebuilds change in a workshop, and the names of jobs that they expect to run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from workshop import Workshop

ORGANS = {1: ["Colon", "Breast", "Stomach", "Kidney"], 2: ["Colon", "Breast"], 3: ["Colon", "Breast", "Kidney"]}

SETTINGS: dict[str, Any] = {
    "data": {"root": "raw"},
    "families": {
        "digestive": ["Colon", "Stomach"],
        "glandular": ["Breast"],
        **dict.fromkeys(("urologic", "epidermal", "respiratory")),
    },
    "splits": {"2": None, "3": None},
    "encoder": {"preset": "tiny-vit", "weights": "random"},
    "organ_head": {"epochs": 2},
    "decoder": {"widths": [16, 12, 8, 8, 8], "stem_widths": [4, 8]},
    "training": {"epochs": 1, "bpq_every": 1, "batch_size": 2},
    "watershed": {"method": ["hovernet"], "np_threshold": [0.5], "hv_threshold": [0.4], "min_object_px": [10]},
}

ENDING = {"evaluate_routed/split1", "summarize/summary", "build_report/report"}


def of_fold(fold: int) -> set[str]:
    """A fold from its raw files to the proof of its features."""
    return {f"{step}/fold{fold}" for step in ("prepare_fold", "extract_features", "check_features")}


def gathered(*families: str) -> set[str]:
    return {f"gather_family/{family}" for family in families}


def checked(*families: str) -> set[str]:
    return {f"check_targets/{family}" for family in families}


def trained(*families: str, split: str = "1") -> set[str]:
    """Decoders, and what comes of their weights."""
    steps = ("train_hovernet/split{}_{}", "publish_checkpoint/split{}_hovernet_{}", "tune_watershed/split{}_{}")
    return {step.format(split, family) for family in families for step in steps} | evaluated(*families, split=split)


def evaluated(*families: str, split: str = "1") -> set[str]:
    return {f"evaluate_family/split{split}_{family}" for family in families}


def organ_head(split: str = "1") -> set[str]:
    return {f"train_organ_head/split{split}", f"publish_checkpoint/split{split}_organ_head"}


def decoders(workshop: Workshop) -> tuple[str, ...]:
    """Families that have a decoder as the settings stand (a test before may have added one), and the control."""
    families = yaml.safe_load((workshop.home / "small.yaml").read_text())["families"]
    return (*(name for name, organs in families.items() if organs), "all")


def change(workshop: Workshop, **sections: Any) -> None:
    """Lay settings over those of the workshop."""

    def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        merged = {
            key: over(below[key], value)
            if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
            else value
            for key, value in above.items()
        }
        return {**below, **merged}

    path = workshop.home / "small.yaml"
    path.write_text(yaml.safe_dump(over(yaml.safe_load(path.read_text()), sections)))


def edit(workshop: Workshop, module: str, text: str = "\nEDITED = 1\n") -> None:
    path = workshop.home / "cellvit" / module
    path.write_text(path.read_text() + text)


def repaint(path: Path, tile: int) -> None:
    """Invert one pixel of a tile."""
    images = np.load(path)
    images[tile, 5, 5] = 255 - images[tile, 5, 5]
    np.save(path, images)


def move(workshop: Workshop, old: str, new: str) -> None:
    """Let the results lie in another folder, as settings say too."""
    (workshop.home / old).rename(workshop.home / new)
    change(workshop, results=new)
