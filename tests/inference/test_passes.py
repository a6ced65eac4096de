"""Forward passes are halved if the memory is full; a given batch size is not changed."""

import logging

import pytest
import torch
from torch import Tensor, nn

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.inference.passes import Passes, block_size
from cellvit.models.encoder import Encoder, load_encoder

IMAGES = torch.randint(0, 256, (7, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Narrow(nn.Module):
    """A memory that holds the activations of a few tiles, in front of the first block."""

    def __init__(self, holds: int, error: Exception) -> None:
        super().__init__()
        self.holds, self.error = holds, error
        self.tried: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tried.append(len(x))
        if len(x) > self.holds:
            raise self.error
        return x


FULL = torch.OutOfMemoryError("no room")


def tiny(holds: int, error: Exception = FULL) -> tuple[Encoder, Narrow]:
    settings = FeaturesSettings(input_px=56)
    encoder = load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), settings, "cpu")
    narrow = Narrow(holds, error)
    encoder.model.norm_pre = narrow  # type: ignore[assignment]
    return encoder, narrow


def test_passes_are_halved_until_they_fit_and_continue_at_the_same_tile(caplog: pytest.LogCaptureFixture) -> None:
    roomy, _ = tiny(holds=7)
    encoder, narrow = tiny(holds=2)

    with caplog.at_level(logging.WARNING):
        parts = Passes(encoder, shrinks=True).run(IMAGES)

    (whole,) = Passes(roomy, shrinks=True).run(IMAGES)
    assert narrow.tried == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(torch.cat([part.tokens for part in parts]), whole.tokens, atol=5e-3, rtol=0)
    assert "out of memory on cpu tiles=7 next_tiles=3" in caplog.text


def test_passes_are_halved_where_the_gpu_of_a_mac_is_full_and_no_other_error_is_caught() -> None:
    full, narrow = tiny(holds=4, error=RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    broken, _ = tiny(holds=4, error=RuntimeError("a fault of the kernel"))

    Passes(full, shrinks=True).run(IMAGES)

    assert narrow.tried == [7, 3, 3, 1]
    with pytest.raises(RuntimeError, match="a fault of the kernel"):
        Passes(broken, shrinks=True).run(IMAGES)


def test_the_size_that_fits_is_used_for_the_next_blocks() -> None:
    encoder, narrow = tiny(holds=3)
    passes = Passes(encoder, shrinks=True)

    passes.run(IMAGES)
    narrow.tried.clear()
    passes.run(IMAGES)

    assert narrow.tried == [3, 3, 1]


def test_a_given_size_is_not_changed_and_the_fix_is_named() -> None:
    encoder, narrow = tiny(holds=2)

    with pytest.raises(torch.OutOfMemoryError) as caught:
        Passes(encoder, shrinks=False).run(IMAGES)

    assert narrow.tried == [7]
    assert "features.batch_size, or set it to auto" in caught.value.__notes__[0]


def test_one_tile_that_does_not_fit_is_an_error() -> None:
    encoder, _ = tiny(holds=0)

    with pytest.raises(torch.OutOfMemoryError):
        Passes(encoder, shrinks=True).run(IMAGES)


def test_the_size_of_a_block_is_the_given_one_or_fixed_on_a_cpu() -> None:
    encoder, _ = tiny(holds=1)

    assert block_size(encoder, 1, 5) == 5
    assert block_size(encoder, 1, None) == block_size(encoder, 8, None) == 8
