"""Encoders that are not vision transformers: where their tokens lie, what the tokens are, and what is refused."""

import numpy as np
import pytest
import skimage.data
import torch
from torch import nn

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.presets import PRESETS, EncoderPreset
from cellvit.errors import ContractError, SettingsError
from cellvit.models.encoder import Encoder, load_encoder
from cellvit.models.pyramid import PyramidTokens, on_grid, standardised
from cellvit.models.weights import create_model

LITE0 = EncoderSettings(preset="efficientnet-lite0")
GREY = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "patch_px": 16, "cls_std": (0.1, 5.0)}
CATS = (281, 282, 285)
"""Tabby, tiger cat and Egyptian cat among the classes of ImageNet."""


def untrained(architecture: str, levels: list[list[int]], **update: object) -> EncoderSettings:
    spec = EncoderPreset(**{"name": architecture, "architecture": architecture, "levels": levels, **GREY, **update})
    return EncoderSettings(preset="custom", weights="random", custom=spec)


CNN = untrained("test_efficientnet", [[2, 16], [4, 24], [8, 32], [16, 48], [32, 64]])
CONVNEXT = untrained("test_convnext", [[4, 24], [8, 32], [16, 48], [32, 64]])
SWIN = untrained(
    "swin_tiny_patch4_window7_224",
    [[4, 24], [8, 48], [16, 96], [32, 192]],
    arguments={"img_size": 256, "window_size": 8, "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
)


def encoder(settings: EncoderSettings = CNN, **features: object) -> Encoder:
    return load_encoder(settings, FeaturesSettings(**{"input_px": 256, **features}), "cpu")


def noise(n: int) -> torch.Tensor:
    pixels = np.random.default_rng(7).integers(0, 256, (n, 16, 16, 3), np.uint8)
    return torch.from_numpy(pixels.repeat(16, axis=1).repeat(16, axis=2))


@pytest.mark.parametrize("settings", [LITE0, CNN, CONVNEXT, SWIN], ids=["lite0", "cnn", "convnext", "swin"])
def test_a_changed_patch_moves_the_token_of_its_own_cell_most(settings: EncoderSettings) -> None:
    fine = tuple(n for n, level in enumerate(settings.spec.levels) if level.stride_px in (8, 16))
    frozen, cells = encoder(settings, blocks=fine), [(0, 0), (0, 15), (15, 0), (3, 11), (8, 4)]
    changed = noise(1).repeat(len(cells), 1, 1, 1)
    for tile, (row, column) in zip(changed, cells, strict=True):
        patch = tile[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        patch.copy_(255 - patch)

    moved = (frozen(changed).tokens.float() - frozen(noise(1)).tokens.float()).norm(dim=-1)[:, 0]

    assert [np.unravel_index(int(tile.argmax()), tile.shape) for tile in moved] == cells


def test_with_symmetric_kernels_a_flipped_tile_gives_the_flipped_tokens() -> None:
    """ConvNeXt cuts its input into whole patches, so that only the orientation of its kernels tells left from right."""
    frozen, tiles = encoder(CONVNEXT), noise(1)
    for module in frozen.model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_((module.weight + module.weight.flip(3)) / 2)
    fine = 4 * 32  # the level of stride 8 has 2 x 2 cells in a cell of the grid: channel, row, column

    tokens, flipped = frozen(tiles).tokens.float(), frozen(tiles.flip(2)).tokens.float()

    expected = tokens.flip(3)
    inside = expected[..., :fine].unflatten(-1, (32, 2, 2)).flip(-1).flatten(-3)
    torch.testing.assert_close(flipped, torch.cat([inside, expected[..., fine:]], dim=-1), atol=5e-3, rtol=0)


@pytest.mark.parametrize("flipped_axis", [1, 2])
def test_the_tokens_of_a_flipped_tile_resemble_the_flipped_tokens(flipped_axis: int) -> None:
    frozen, tile = encoder(LITE0, blocks=(3, 4)), torch.from_numpy(skimage.data.chelsea()[None, :256, 100:356])

    tokens, of_flipped = frozen(tile).tokens[0, 0].float(), frozen(tile.flip(flipped_axis)).tokens[0, 0].float()

    centred = of_flipped - of_flipped.mean(dim=(0, 1))
    alike, unlike = (
        torch.cosine_similarity(centred, other - other.mean(dim=(0, 1)), dim=-1).mean()
        for other in (tokens.flip(flipped_axis - 1), tokens)
    )
    assert alike > 0.45
    assert alike > 2 * unlike


def test_finer_levels_are_rearranged_and_nothing_is_averaged() -> None:
    level = torch.arange(2.0 * 4 * 4).view(1, 2, 4, 4)

    placed = on_grid(level, 2)

    assert placed.shape == (1, 2, 2, 8)
    assert placed[0, 0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]
    assert torch.equal(nn.functional.pixel_shuffle(placed.permute(0, 3, 1, 2), 2), level)


def test_coarser_levels_are_upsampled_in_their_place() -> None:
    ramp = torch.tensor([8.0, 24.0, 40.0, 56.0]).expand(1, 1, 4, 4)  # centres of cells of 16 px

    placed = on_grid(ramp, 8)[0, 0, :, 0]

    assert placed.tolist() == [8, 12, 20, 28, 36, 44, 52, 56]  # centres of cells of 8 px; the border repeats


def test_each_cell_of_a_level_is_standardised_by_itself() -> None:
    level = 40 * torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)) + 7

    cells = standardised(level)

    torch.testing.assert_close(cells.mean(dim=1), torch.zeros(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(cells.var(dim=1, unbiased=False), torch.ones(2, 4, 4), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised(level[1:]), cells[1:])


def test_tokens_are_the_levels_in_their_order_and_cls_is_their_mean() -> None:
    frozen, tiles = encoder(), noise(2)
    with torch.inference_mode():
        levels = frozen.model.forward_intermediates(frozen.prepared(tiles), indices=[2, 3, 4], intermediates_only=True)

    encoded = frozen(tiles)

    assert (encoded.cls.shape, encoded.tokens.shape) == ((2, 240), (2, 1, 16, 16, 240))
    assert (frozen.blocks, frozen.grid, frozen.dim) == ((0,), 16, 4 * 32 + 48 + 64)
    middle = standardised(levels[1]).permute(0, 2, 3, 1)
    torch.testing.assert_close(encoded.tokens[:, 0, :, :, 128:176].float(), middle, atol=5e-3, rtol=0)
    torch.testing.assert_close(encoded.cls, encoded.tokens.float().mean(dim=(1, 2, 3)), atol=1e-3, rtol=0)
    assert not any(tensor.requires_grad for tensor in (encoded.cls, *frozen.parameters()))


@pytest.mark.parametrize(
    ("blocks", "width"), [((3,), 48), ((1, 3), 16 * 24 + 48), ((0, 1, 2, 3, 4), 64 * 16 + 16 * 24 + 240)]
)
def test_blocks_choose_the_levels(blocks: tuple[int, ...], width: int) -> None:
    frozen = encoder(blocks=blocks)

    assert frozen(noise(1)).tokens.shape == (1, 1, 16, 16, width) == (1, 1, 16, 16, frozen.dim)


@pytest.mark.parametrize("settings", [LITE0, CNN, CONVNEXT], ids=["lite0", "cnn", "convnext"])
def test_a_larger_input_gives_a_finer_grid(settings: EncoderSettings) -> None:
    frozen = encoder(settings, input_px=448)

    assert frozen(noise(1)).tokens.shape[2:4] == (28, 28) == (frozen.grid, frozen.grid)


@pytest.mark.parametrize(("precision", "largest"), [("float16", 0.02), ("bfloat16", 0.15)])
def test_lower_precision_changes_tokens_little(precision: str, largest: float) -> None:
    tiles = noise(1)

    exact, rough = encoder(LITE0, precision="float32")(tiles), encoder(LITE0, precision=precision)(tiles)

    deviation = (rough.tokens.float() - exact.tokens.float()).square().mean().sqrt()
    assert 0 < deviation < largest


def test_the_published_weights_recognise_a_cat() -> None:
    """Weights in a wrong place recognise nothing."""
    frozen, cat = encoder(LITE0), torch.from_numpy(skimage.data.chelsea()[None, :300, 75:375])

    with torch.inference_mode():
        scores = frozen.model(frozen.prepared(cat))[0]

    assert int(scores.argmax()) in CATS


def test_presets_at_full_size_have_the_levels_that_they_name() -> None:
    for spec in (spec for spec in PRESETS.values() if spec.levels):
        with torch.device("meta"):
            model = create_model(spec.architecture, spec)
        PyramidTokens(model, spec, spec.read_blocks(None), 256)

        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(4.65, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            untrained("test_efficientnet", [[8, 32], [16, 48]]),
            r"found \[\[2, 16\], \[4, 24\], \[8, 32\], \[16, 48\], \[32, 64\]\] in EfficientNet. Fix: set encoder.custom",
            id="other_levels",
        ),
        pytest.param(
            untrained("test_efficientnet", [], depth=5, dim=240),
            "found EfficientNet. Fix: describe any other model by encoder.custom.levels",
            id="a_cnn_described_as_a_vision_transformer",
        ),
    ],
)
def test_a_model_that_differs_from_the_settings_is_refused(settings: EncoderSettings, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        encoder(settings)


def test_a_model_without_a_pyramid_is_refused() -> None:
    with pytest.raises(ContractError, match=r"features_only\), found Linear, which has no forward_intermediates"):
        PyramidTokens(nn.Linear(2, 2), CNN.spec, (2,), 256)


def test_levels_of_another_size_than_their_stride_gives_are_refused() -> None:
    frozen = encoder()

    with pytest.raises(ContractError, match=r"found \[\(32, 30, 30\)"):
        frozen.encoded(torch.zeros(1, 3, 240, 240))


@pytest.mark.parametrize(
    ("input_px", "blocks", "message"),
    [
        (240, None, "features.input_px=240 is not a multiple of the coarsest level of the encoder, 32 px; nearest valid "
                    "values: 224, 256"),
        (250, (3,), "not a multiple of the patch of the encoder, 16 px; nearest valid values: 240, 256"),
        (256, (4, 5), r"features.blocks=\[5\]: the encoder has 5 levels, numbered 0 to 4"),
    ],
)  # fmt: skip
def test_input_sizes_and_levels_that_the_encoder_lacks_are_refused(
    input_px: int, blocks: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        encoder(LITE0, input_px=input_px, blocks=blocks)
