"""Imports timm where torchvision's compiled operators do not fit the installed torch.

timm imports torchvision, and torchvision registers shape rules for two operators of its compiled part. Where a build for
CUDA meets a CPU build of torch (or the other way round) that part is not loaded and the import dies, though no encoder
needs these operators. Here their schemas are declared, without any implementation, and the import is tried again.
"""

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Final

import torch

_SYMPTOM: Final = "operator torchvision::nms does not exist"
_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_timm() -> ModuleType:
    """The module timm; where it imports by itself, nothing else is touched."""
    try:
        return importlib.import_module("timm")
    except RuntimeError as error:
        if str(error) != _SYMPTOM:
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared_operators()
    return importlib.import_module("timm")


@cache  # torch forgets the operators when this object is collected
def _declared_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library
