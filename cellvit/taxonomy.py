"""PanNuke's organs, families and classes, and names of decoders; other data sets: `cellvit.formats.dataset`."""

from enum import IntEnum
from types import MappingProxyType
from typing import Final

TILE_PX: Final = 256
"""Side of a tile in pixels."""

TILE_MPP: Final = 0.25
"""Micrometres per pixel of a PanNuke tile (40x)."""

ORGANS: Final = (
    "Adrenal_gland",
    "Bile-duct",
    "Bladder",
    "Breast",
    "Cervix",
    "Colon",
    "Esophagus",
    "HeadNeck",
    "Kidney",
    "Liver",
    "Lung",
    "Ovarian",
    "Pancreatic",
    "Prostate",
    "Skin",
    "Stomach",
    "Testis",
    "Thyroid",
    "Uterus",
)
"""PanNuke's 19 tissues as types.npy spells them; the index is the number of the organ."""


class NucleusClass(IntEnum):
    """Class of a pixel or nucleus: 0 is background, the others are PanNuke's channel plus one."""

    BACKGROUND = 0
    NEOPLASTIC = 1
    INFLAMMATORY = 2
    CONNECTIVE = 3
    DEAD = 4
    EPITHELIAL = 5


NUCLEUS_CLASSES: Final = tuple(member for member in NucleusClass if member)
"""The five nuclear classes, background excluded, in channel order."""

CLASS_NAMES: Final = tuple(member.name.capitalize() for member in NucleusClass)
"""Display names, background first."""

BACKGROUND_CHANNEL: Final = 5
"""Channel of masks.npy that holds the binary background; it is not a class of nuclei."""

DEFAULT_FAMILIES: Final = MappingProxyType(
    {
        "glandular": ("Breast", "Prostate", "Thyroid", "Pancreatic", "Adrenal_gland"),
        "digestive": ("Colon", "Stomach", "Esophagus", "Bile-duct"),
        "urologic": ("Kidney", "Bladder", "Testis", "Ovarian", "Uterus", "Cervix"),
        "epidermal": ("Skin", "HeadNeck"),
        "respiratory": ("Lung", "Liver"),
    }
)
"""The five families of the original system."""

SHARED_FAMILY: Final = "all"
"""Family of the shared decoder: one decoder for all organs in use."""

ONE_DECODER: Final = "decoder"
"""What the decoder of `SHARED_FAMILY` is called in texts where it is the only one of a run (families: null)."""

_SEED: Final = "-seed"


def repeated(family: str, seed: int) -> str:
    """Name of the decoder of a family that is trained again with a further seed.

    Examples:
        >>> repeated("digestive", 1)
        'digestive-seed1'
    """
    return f"{family}{_SEED}{seed}"


def base_family(name: str) -> str:
    """Family of a decoder, without the seed that it was trained again with.

    Examples:
        >>> base_family("digestive-seed1"), base_family("digestive")
        ('digestive', 'digestive')
    """
    return name.partition(_SEED)[0]
