"""Imports timm, also if the compiled part of torchvision does not fit the installed torch.

timm imports torchvision, which registers shape rules for two operators of its compiled part. If torchvision was built for
CUDA and torch for CPUs (or the reverse), that part is not loaded and the import fails, although no encoder needs these
operators. Their schemas are then declared here, without an implementation, and the import is repeated.
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
    """The module timm; if it can be imported, nothing else is changed."""
    try:
        return importlib.import_module("timm")
    except RuntimeError as error:
        if str(error) != _SYMPTOM:
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared_operators()
    return importlib.import_module("timm")


@cache  # torch removes the operators when this object is garbage-collected
def _declared_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library
