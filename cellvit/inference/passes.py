"""Forward passes of the encoder over blocks of tiles, in parts if the memory of the device is too small."""

import logging
from typing import Final

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from cellvit.models.encoder import EncodedTiles, Encoder

log = logging.getLogger(__name__)

_LARGEST_BLOCK: Final = 128
"""Tiles per forward pass that use a GPU fully: 128 x 261 tokens are 33 thousand rows of every matrix product."""

_BLOCK_BYTES: Final = 256 << 20
"""Largest size of the results of a block on the host; up to five blocks exist at a time."""

_CPU_BLOCK: Final = 8
"""Measured with tiny-vit on one core: 127 tiles/s at 8, 98 at 16, whose activations do not fit the cache."""

_TOKEN_BYTES: Final = 2


def block_size(encoder: Encoder, n_views: int, batch_size: int | None) -> int:
    """Tiles that are read, computed and written together; None chooses by the device and the size of the results."""
    if batch_size is not None:
        return batch_size
    if encoder.device.type == "cpu":
        return _CPU_BLOCK
    per_tile = n_views * len(encoder.blocks) * encoder.grid**2 * encoder.dim * _TOKEN_BYTES
    fitting = max(1, _BLOCK_BYTES // per_tile)
    return min(_LARGEST_BLOCK, 1 << (fitting.bit_length() - 1))


class Passes:
    """Forward passes that are halved if the memory of the device is full.

    Args:
        shrinks: True if a pass may be halved; else full memory is an error that names the fix.
    """

    def __init__(self, encoder: Encoder, *, shrinks: bool) -> None:
        self._encoder, self._shrinks = encoder, shrinks
        self._largest: int | None = None

    @torch.inference_mode()
    def run(self, images: UInt8[Tensor, "b h w 3"] | Float32[Tensor, "b 3 s s"]) -> list[EncodedTiles]:
        """Tokens of tiles (8-bit, or already prepared), in order, in one part or more.

        Raises:
            torch.OutOfMemoryError: A single tile is too large, or a given batch size is.
        """
        parts: list[EncodedTiles] = []
        start = 0
        while start < len(images):
            size = min(self._largest or len(images), len(images) - start)
            part = self._attempt(images[start : start + size])
            if part is None:
                self._largest = size // 2
                log.warning("out of memory on %s tiles=%d next_tiles=%d", self._encoder.device, size, self._largest)
                if self._encoder.device.type == "cuda":
                    torch.cuda.synchronize(self._encoder.device)
                    torch.cuda.empty_cache()
                elif self._encoder.device.type == "mps":
                    torch.mps.empty_cache()
            else:
                parts.append(part)
                start += size
        return parts

    def _attempt(self, images: Tensor) -> EncodedTiles | None:
        """None if memory was full; nothing of the attempt is then held any more."""
        try:
            prepared = self._encoder.prepared(images) if images.dtype == torch.uint8 else images
            return self._encoder.encoded(prepared)
        except RuntimeError as error:
            if not _says_full(error):
                raise
            if self._shrinks and len(images) > 1:
                return None
            error.add_note(
                f"{len(images)} tiles per forward pass are too many for {self._encoder.device}. "
                "Fix: lower features.batch_size, or set it to auto"
            )
            raise


def _says_full(error: RuntimeError) -> bool:
    """Whether the memory of the device was full; on the GPU of a Mac, torch has no error of its own for that."""
    return isinstance(error, torch.OutOfMemoryError) or "MPS backend out of memory" in str(error)
