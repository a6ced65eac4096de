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


def tokens_of(n: int = 1, *, blocks: int = 1, grid: int = 16) -> torch.Tensor:
    return torch.randn(n, blocks, grid, grid, 12, generator=torch.Generator().manual_seed(1))


VARIANTS = {
    "default": {},
    "original": {"image_stem": "none"},
    "four_blocks": {"blocks": 4},
    "regularised_tokens": {"token_norm": "layer", "token_dropout": 0.3},
    "tile_colours": {"image_norm": "tile"},
    "residual_stem": {"image_stem": "rgb_residual", "stem_widths": (4, 6, 8, 10)},
    "narrow_at_full_resolution": {"widths": (8, 8, 8, 4, 2)},
    "branches": {"trunk": "branches"},
    "branches_with_residual_stem": {"trunk": "branches", "image_stem": "rgb_residual"},
    "pixel_shuffle": {"upsampling": "pixel_shuffle"},
    "pixel_shuffle_in_branches": {"upsampling": "pixel_shuffle", "trunk": "branches"},
}


def inputs_of(decoder: HoVerNetDecoder, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tokens_of(n, blocks=decoder.token_shape[0]), image_batch(n)


def test_the_decoder_of_the_original_system_is_what_it_was():
    decoder = HoVerNetDecoder(1536, image_stem="none", widths=(256, 128, 64, 64, 64))

    shapes = [tuple(values.shape) for values in decoder.parameters() if values.ndim == 4]
    n_parameters = sum(values.numel() for values in decoder.parameters())

    assert not decoder.reads_image
    assert n_parameters == 1_151_242
    assert shapes == [
        (256, 1536, 1, 1),
        *[(128, 256, 3, 3), (128, 128, 3, 3)],
        *[(64, 128, 3, 3), (64, 64, 3, 3)],
        *[(64, 64, 3, 3), (64, 64, 3, 3)],
        *[(64, 64, 3, 3), (64, 64, 3, 3)],
        (96, 64, 3, 3),
        *[(2, 32, 1, 1), (2, 32, 1, 1), (6, 32, 1, 1)],
    ]


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_gives_maps_at_tile_resolution(changes):
    decoder = small(**changes).eval()

    maps = decoder(*inputs_of(decoder, 2))

    assert [tuple(part.shape) for part in maps] == [(2, channels, 256, 256) for channels in (2, 2, 6)]


@pytest.mark.parametrize("upsampling", ["bilinear", "pixel_shuffle"])
@pytest.mark.parametrize("grid", [16, 18, 24, 32, 36])
def test_any_grid_gives_maps_at_tile_resolution(grid, upsampling):
    maps = small(grid=grid, upsampling=upsampling)(tokens_of(2, grid=grid), image_batch(2))

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


@pytest.mark.parametrize("image_stem", ["rgb", "rgb_residual"])
@pytest.mark.parametrize("stem_widths", [(4, 6), (4, 6, 8), (4, 6, 8, 10)])
def test_features_of_the_image_are_used_at_two_to_four_resolutions(image_stem, stem_widths):
    decoder = small(image_stem=image_stem, stem_widths=stem_widths)

    features = decoder.stem(image_batch())

    assert {px: map_.shape[1] for px, map_ in features.items()} == dict(
        zip((256, 128, 64, 32), stem_widths, strict=False)
    )
    assert decoder(tokens_of(), image_batch()).np.shape == (1, 2, 256, 256)


def test_maps_do_not_depend_on_the_type_of_tokens_and_image_but_on_the_order_of_blocks():
    decoder, tokens, image = small(blocks=2).eval(), tokens_of(blocks=2).half(), image_batch()

    maps, same, other = decoder(tokens, image), decoder(tokens.float(), image.float()), decoder(tokens.flip(1), image)

    assert torch.equal(maps.np, same.np)
    assert not torch.allclose(maps.np, other.np)


@pytest.mark.parametrize(("grid", "cell"), [(16, (3, 12)), (32, (20, 5))])
def test_a_token_changes_the_maps_at_its_own_place_and_nowhere_far(grid, cell):
    decoder, px = small(grid=grid, image_stem="none").eval(), 256 // grid
    tokens = torch.zeros(1, 1, grid, grid, 12)
    marked = tokens.clone()
    marked[0, 0, *cell] = 10.0

    change = (decoder(marked).np - decoder(tokens).np).abs().sum(dim=1)[0]  # (256, 256)

    axis = torch.arange(256) + 0.5
    centre = torch.stack([change.sum(dim=1) @ axis, change.sum(dim=0) @ axis]) / change.sum()
    expected = (torch.tensor(cell) + 0.5) * px
    torch.testing.assert_close(centre, expected, atol=8, rtol=0)
    assert change[(axis - expected[0]).abs() > 96].max() == change[:, (axis - expected[1]).abs() > 96].max() == 0


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_training_starts_with_hv_near_zero_and_reaches_every_parameter(n, changes):
    decoder = small(**changes).train()

    maps = decoder(*inputs_of(decoder, n))
    sum(part.square().mean() for part in maps).backward()

    assert all(part.isfinite().all() for part in maps)
    assert maps.hv.abs().mean() < 0.2
    assert maps.hv.min() < 0 < maps.hv.max()
    unreached = [name for name, parameter in decoder.named_parameters() if parameter.grad is None]
    assert unreached == []


@pytest.mark.parametrize("chosen", ["np", "hv", "nt"])
def test_each_map_trains_its_own_branch_and_the_stages_to_64_px(chosen):
    decoder = small(trunk="branches").train()

    getattr(decoder(tokens_of(2), image_batch(2)), chosen).square().mean().backward()

    trained = [branch[0].convolutions[0][0].weight.grad is not None for branch in decoder.branches]
    assert trained == [name == chosen for name in ("np", "hv", "nt")]
    assert [stage.px for stage in decoder.trunk] == [32, 64]
    assert [stage.px for stage in decoder.branches[0]] == [128, 256]
    assert all(parameter.grad is not None for parameter in decoder.trunk.parameters())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        pytest.param({"trunk": "three"}, "'shared' or 'branches'", id="unknown_choice"),
        pytest.param({"token_dropout": 1.0}, "less than 1", id="every_channel_dropped"),
        pytest.param({"stem_widths": (4,)}, "at least 2 items", id="features_at_full_resolution_alone"),
        pytest.param({"depth": 3}, "depth", id="unknown_name"),
    ],
)
def test_options_are_checked_as_settings(option, message):
    with pytest.raises(ValueError, match=message):
        small(**option)


@pytest.mark.parametrize(
    ("tokens", "image", "message"),
    [
        pytest.param(
            tokens_of(), None, r"needs the image \(1, 3, 256, 256\), channels first, found none", id="no_image"
        ),
        pytest.param(
            tokens_of(), image_batch().permute(0, 2, 3, 1), r"found \(1, 256, 256, 3\)", id="image_with_channels_last"
        ),
        pytest.param(
            tokens_of(blocks=2),
            image_batch(),
            r"\(b, 1, 16, 16, 12\), found \(1, 2, 16, 16, 12\)",
            id="tokens_of_another_encoder",
        ),
    ],
)
def test_inputs_of_another_shape_are_refused(tokens, image, message):
    with pytest.raises(ContractError, match=message):
        small()(tokens, image)
