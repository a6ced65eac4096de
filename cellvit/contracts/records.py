"""Records that cross layers in memory; each is checked once, when it is built."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32, Int32, UInt8

from cellvit.errors import ContractError
from cellvit.taxonomy import ORGANS, TILE_PX, NucleusClass


@dataclass(frozen=True, slots=True)
class TileBatch:
    """Annotated tiles in PanNuke's geometry (256 px at 0.25 um per pixel).

    Attributes:
        image: RGB, 0..255.
        instances: Instance labels of each tile; 0 is background, 1..n without gaps.
        classes: `NucleusClass` of each pixel; background exactly where `instances` is 0.
        organ: Organ of each tile, as `cellvit.taxonomy.ORGANS` spells it.
        tile_id: ``f{fold}-{row:05d}``; unique over all folds and stable across runs.
        patient: Patient (or slide) of each tile; empty where unknown, as all are where it is left out.
    """

    image: UInt8[np.ndarray, "b 256 256 3"]
    instances: Int32[np.ndarray, "b 256 256"]
    classes: UInt8[np.ndarray, "b 256 256"]
    organ: tuple[str, ...]
    tile_id: tuple[str, ...]
    patient: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.tile_id)
        if not self.patient:
            object.__setattr__(self, "patient", ("",) * n)
        where = f"tiles {self.tile_id[0]} to {self.tile_id[-1]}" if n else "empty batch of tiles"
        expected = {
            "image": (np.uint8, (n, TILE_PX, TILE_PX, 3)),
            "instances": (np.int32, (n, TILE_PX, TILE_PX)),
            "classes": (np.uint8, (n, TILE_PX, TILE_PX)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise ContractError(
                    f"{where}: `{name}` must be {np.dtype(dtype)} {shape}, found {array.dtype} {array.shape}. "
                    "Prepare the fold again: snakemake --forcerun prepare_fold"
                )
        unknown = sorted(set(self.organ) - set(ORGANS))
        if unknown or len(self.organ) != n:
            raise ContractError(
                f"{where}: {n} organs of PanNuke's 19 expected, found {len(self.organ)}, unknown {unknown}"
            )
        if len(self.patient) != n:
            raise ContractError(f"{where}: one patient for each of {n} tiles expected, found {len(self.patient)}")
        if n and (self.instances.min() < 0 or self.classes.max() > max(NucleusClass)):
            raise ContractError(f"{where}: instance labels are 0 and up, classes 0..{max(NucleusClass)}")
        if not np.array_equal(self.instances > 0, self.classes > 0):
            raise ContractError(
                f"{where}: `classes` must be background exactly where `instances` is 0; background would count as nuclei. "
                "Prepare the fold again: snakemake --forcerun prepare_fold"
            )

    def __len__(self) -> int:
        return len(self.tile_id)


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Frozen features of tiles.

    Attributes:
        cls: CLS token after the final LayerNorm, one a view.
        tokens: Patch tokens after the final LayerNorm, one grid a view and tap; no CLS, no registers.
        input_sha256: Hash of what the encoder was given of each tile; None where unknown.
    """

    cls: Float32[np.ndarray, "b views dim"]
    tokens: Float16[np.ndarray, "b views taps g g dim"]
    input_sha256: UInt8[np.ndarray, "b 32"] | None = None

    def __post_init__(self) -> None:
        cls, tokens = self.cls, self.tokens
        if cls.dtype != np.float32 or tokens.dtype != np.float16 or cls.ndim != 3 or tokens.ndim != 6:
            raise ContractError(
                "features: cls must be float32 (b, views, dim) and tokens float16 (b, views, taps, g, g, dim), "
                f"found {cls.dtype} {cls.shape} and {tokens.dtype} {tokens.shape}"
            )
        if cls.shape[:2] != tokens.shape[:2] or cls.shape[2] != tokens.shape[5] or tokens.shape[3] != tokens.shape[4]:
            raise ContractError(f"features: shapes of cls {cls.shape} and tokens {tokens.shape} do not belong together")

    def __len__(self) -> int:
        return len(self.cls)
