import numpy as np
import pytest
import torch

from cellvit.errors import ContractError
from cellvit.models.hovernet import HoVerNetDecoder


def small(**changes) -> HoVerNetDecoder:
    torch.manual_seed(0)
    options = {"widths": (8, 8, 8, 8, 8), "image_stem": "rgb", "stem_widths": (4, 6), **changes}
    return HoVerNetDecoder(12, **options)


def image_batch(n: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 256, 256), generator=generator, dtype=torch.uint8)


def tokens_of(n: int = 1, *, taps: int = 1, grid: int = 16) -> torch.Tensor:
    return torch.randn(n, taps, grid, grid, 12, generator=torch.Generator().manual_seed(1))


def test_the_decoder_of_the_original_system_has_about_1_15_million_parameters():
    decoder = HoVerNetDecoder(1536)

    n_parameters = sum(parameter.numel() for parameter in decoder.parameters())

    assert not decoder.reads_image
    assert 1.0e6 < n_parameters < 1.3e6


@pytest.mark.parametrize("grid", [16, 18, 24, 32, 36])
def test_any_grid_gives_maps_at_tile_resolution(grid):
    maps = small(grid=grid)(tokens_of(2, grid=grid), image_batch(2))

    assert maps.np.shape == (2, 2, 256, 256)
    assert maps.hv.shape == (2, 2, 256, 256)
    assert maps.nt.shape == (2, 6, 256, 256)


@pytest.mark.parametrize("grid", [16, 18, 24, 32])
def test_no_cell_of_a_grid_up_to_32_is_averaged_away(grid):
    decoder = small(grid=grid, image_stem="none").eval()
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    pattern = (1.0 - 2 * ((rows + columns) % 2))[None, None, :, :, None].expand(1, 1, grid, grid, 12)

    found, inverted, flat = (decoder(tokens).hv for tokens in (pattern, -pattern, 0 * pattern))

    assert (found - inverted).abs().mean() > 0.1 * flat.abs().mean()


def test_a_cell_reaches_the_pixels_that_it_covers_first():
    decoder = small(grid=32, image_stem="none").eval()
    tokens = torch.zeros(1, 1, 32, 32, 12)
    marked = tokens.clone()
    marked[0, 0, 20, 5] = 3

    moved = (decoder(marked).np - decoder(tokens).np).abs().sum(dim=1)[0]

    row, column = np.unravel_index(int(moved.argmax()), moved.shape)
    assert max(abs(row - 20.5 * 8), abs(column - 5.5 * 8)) < 24  # two stages of 3 x 3 spread it


@pytest.mark.parametrize("stem_widths", [(4, 6), (4, 6, 8), (4, 6, 8, 10)])
def test_the_image_joins_at_two_to_four_resolutions(stem_widths):
    decoder = small(stem_widths=stem_widths)

    features = decoder.stem(image_batch())

    assert {px: map_.shape[1] for px, map_ in features.items()} == dict(
        zip((256, 128, 64, 32), stem_widths, strict=False)
    )
    assert decoder(tokens_of(), image_batch()).np.shape == (1, 2, 256, 256)


def test_taps_are_read_side_by_side():
    decoder = small(taps=2).eval()
    tokens = tokens_of(taps=2)

    changed = decoder(tokens.flip(1), image_batch()).np

    assert not torch.allclose(decoder(tokens, image_batch()).np, changed)


def test_half_precision_tokens_are_accepted():
    decoder, tokens = small().eval(), tokens_of().half()

    assert torch.equal(decoder(tokens, image_batch()).np, decoder(tokens.float(), image_batch()).np)


def test_an_image_of_bytes_and_of_floats_give_the_same_maps():
    decoder, tokens = small().eval(), tokens_of()

    of_bytes, of_floats = decoder(tokens, image_batch()), decoder(tokens, image_batch().float())

    assert torch.equal(of_bytes.np, of_floats.np)


def test_a_bright_token_changes_its_own_place_in_the_maps():
    decoder = small(image_stem="none").eval()
    tokens = torch.zeros(1, 1, 16, 16, 12)
    bright = tokens.clone()
    bright[0, 0, 3, 12] = 10.0

    change = (decoder(bright).np - decoder(tokens).np).abs().sum(dim=1)[0]  # (256, 256)

    axis = torch.arange(256) + 0.5
    centre = (change.sum(dim=1) @ axis / change.sum(), change.sum(dim=0) @ axis / change.sum())
    torch.testing.assert_close(torch.stack(centre), torch.tensor([3.5 * 16, 12.5 * 16]), atol=8, rtol=0)
    assert change[160:, :96].max() == 0


def test_hv_starts_near_zero_and_both_ways():
    hv = small().train()(tokens_of(2), image_batch(2)).hv

    assert hv.abs().mean() < 0.2
    assert hv.min() < 0 < hv.max()


def test_every_parameter_gets_a_gradient():
    decoder = small()
    maps = decoder(tokens_of(2), image_batch(2))

    sum(part.square().mean() for part in maps).backward()

    without = [name for name, parameter in decoder.named_parameters() if parameter.grad is None]
    assert without == []


def test_a_batch_of_one_tile_trains():
    maps = small().train()(tokens_of(1), image_batch(1))

    assert all(part.isfinite().all() for part in maps)


def test_a_missing_image_is_named():
    with pytest.raises(ContractError, match=r"needs the image \(1, 3, 256, 256\), channels first, found none"):
        small()(tokens_of())


def test_an_image_with_channels_last_is_refused():
    with pytest.raises(ContractError, match=r"found \(1, 256, 256, 3\)"):
        small()(tokens_of(), image_batch().permute(0, 2, 3, 1))


def test_tokens_of_another_encoder_are_refused():
    with pytest.raises(ContractError, match=r"\(b, 1, 16, 16, 12\), found \(1, 2, 16, 16, 12\)"):
        small()(tokens_of(taps=2), image_batch())
