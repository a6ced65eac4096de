"""The tokens of the encoder: their places in the tile, their values, and the inputs and values that are refused."""

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.presets import PRESETS
from cellvit.errors import ContractError, IntegrityError
from cellvit.models.encoder import Encoder, load_encoder
from cellvit.models.weights import create_model

VITS = sorted(name for name, spec in PRESETS.items() if not spec.levels)

TINY = EncoderSettings(preset="tiny-vit", weights="random")


def small(preset: str, **arguments: object) -> EncoderSettings:
    """A real preset's own code path at 2 blocks and 48 channels."""
    spec = PRESETS[preset]
    small_arguments = {**spec.arguments, "embed_dim": 48, "depth": 2, "num_heads": 2, **arguments}
    update = {"arguments": small_arguments, "depth": 2, "dim": 48}
    return EncoderSettings(preset="custom", weights="random", custom=spec.model_copy(update=update))


def encoder(settings: EncoderSettings = TINY, **features: object) -> Encoder:
    return load_encoder(settings, FeaturesSettings(**features), "cpu")


def noise(n: int, side: int = 256) -> torch.Tensor:
    pixels = np.random.default_rng(7).integers(0, 256, (n, side // 16, side // 16, 3), np.uint8)
    return torch.from_numpy(pixels.repeat(16, axis=1).repeat(16, axis=2))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(TINY, id="four_registers"),
        pytest.param(small("uni2-h"), id="eight_registers"),
        pytest.param(small("uni2-h", reg_tokens=0), id="no_register"),
        pytest.param(small("virchow2"), id="positions_for_prefix_tokens_too"),
    ],
)
@pytest.mark.parametrize("cell", [(0, 0), (0, 15), (15, 0), (3, 11), (8, 4)])
def test_a_bright_patch_moves_the_token_of_its_own_cell_most(settings: EncoderSettings, cell: tuple[int, int]) -> None:
    row, column = cell
    grey = torch.full((1, 256, 256, 3), 128, dtype=torch.uint8)
    bright = grey.clone()
    bright[:, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 255
    frozen = encoder(settings, blocks=(0, settings.spec.depth - 1))

    moved = (frozen(bright).tokens.float() - frozen(grey).tokens.float()).norm(dim=-1)[0]  # (blocks, g, g)

    for block in moved:
        assert np.unravel_index(int(block.argmax()), block.shape) == cell


def test_a_flipped_tile_gives_the_flipped_prepared_image() -> None:
    frozen, tiles = encoder(), noise(1)

    flipped = frozen.prepared(tiles.flip(2))

    torch.testing.assert_close(flipped, frozen.prepared(tiles).flip(3), atol=1e-3, rtol=0)


def test_colours_are_normalised_as_by_the_authors() -> None:
    tile = torch.tensor([255, 0, 51], dtype=torch.uint8).expand(1, 256, 256, 3)

    prepared = encoder().prepared(tile)

    expected = [(1 - 0.707223) / 0.211883, -0.578729 / 0.230117, (0.2 - 0.703617) / 0.177517]
    np.testing.assert_allclose(prepared.mean(dim=(0, 2, 3)), expected, rtol=1e-5)
    assert prepared.std(dim=(2, 3)).max() < 1e-5


@pytest.mark.parametrize("settings", [TINY, small("uni2-h"), small("virchow2")], ids=["tiny", "uni2-h", "virchow2"])
def test_tokens_are_those_of_forward_features_without_cls_and_registers(settings: EncoderSettings) -> None:
    frozen, tiles = encoder(settings), noise(2)
    with torch.inference_mode():
        sequence = frozen.model.forward_features(frozen.prepared(tiles))

    encoded = frozen(tiles)

    prefix = sequence.shape[1] - 256
    torch.testing.assert_close(encoded.cls, sequence[:, 0])
    torch.testing.assert_close(encoded.tokens[:, -1].flatten(1, 2), sequence[:, prefix:].half())
    assert frozen.model.num_prefix_tokens == prefix
    assert not frozen.training
    assert not any(tensor.requires_grad for tensor in (encoded.cls, *frozen.parameters()))


def test_every_block_is_normalised_and_does_not_depend_on_the_others() -> None:
    tiles = noise(1)

    several, alone = encoder(blocks=(0, 2, 3))(tiles).tokens, encoder(blocks=(2,))(tiles).tokens

    assert several.shape == (1, 3, 16, 16, 96)
    torch.testing.assert_close(several[:, 1], alone[:, 0])
    torch.testing.assert_close(several.float().std(dim=-1), torch.ones(1, 3, 16, 16), atol=0.02, rtol=0)
    assert not torch.equal(several[:, 0], several[:, 2])


@pytest.mark.parametrize("input_px", [112, 252, 336])
@pytest.mark.parametrize("settings", [TINY, small("uni2-h"), small("virchow2")], ids=["tiny", "uni2-h", "virchow2"])
def test_other_input_sizes_give_grids_of_their_size(settings: EncoderSettings, input_px: int) -> None:
    frozen = encoder(settings, input_px=input_px)

    tokens = frozen(noise(1)).tokens

    assert tokens.shape[2:4] == (input_px // 14, input_px // 14) == (frozen.grid, frozen.grid)


def test_position_embeddings_are_interpolated_from_the_same_weights() -> None:
    own, other = encoder(), encoder(input_px=448)

    assert other.model.pos_embed.shape == (1, 32 * 32, 96)
    shrunk = torch.nn.functional.avg_pool2d(other.model.pos_embed.view(1, 32, 32, 96).permute(0, 3, 1, 2), 2)
    original = own.model.pos_embed.view(1, 16, 16, 96).permute(0, 3, 1, 2)
    assert torch.corrcoef(torch.stack([shrunk.flatten(), original.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("preset", sorted(set(VITS) - {"tiny-vit"}))
def test_every_preset_builds_with_its_own_arguments_and_passes_its_band(preset: str) -> None:
    settings = small(preset)

    frozen = encoder(settings)
    encoded = frozen(noise(3))

    assert (encoded.cls.shape, encoded.tokens.shape) == ((3, 48), (3, 1, 16, 16, 48))
    assert frozen.model.num_prefix_tokens == (9 if preset == "uni2-h" else 5)
    low, high = settings.cls_std
    assert low < encoded.cls.std() < high


@pytest.mark.parametrize("preset", VITS)
def test_presets_at_full_size_have_the_depth_width_and_layers_that_they_name(preset: str) -> None:
    spec = PRESETS[preset]
    with torch.device("meta"):  # no memory, no arithmetic
        vit = create_model(spec.architecture, spec)

    assert (len(vit.blocks), vit.embed_dim, vit.patch_embed.patch_size) == (spec.depth, spec.dim, (14, 14))
    assert type(vit.blocks[0].mlp).__name__ == "GluMlp"
    parameters = {"h-optimus-0": 1134, "h-optimus-1": 1134, "h0-mini": 86, "uni2-h": 681, "virchow2": 631}
    if preset in parameters:
        assert sum(p.numel() for p in vit.parameters()) / 1e6 == pytest.approx(parameters[preset], abs=1)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_changes_tokens_little_and_not_their_types(precision: str) -> None:
    tiles = noise(2)

    exact, rough = encoder(precision="float32")(tiles), encoder(precision=precision)(tiles)

    assert (rough.cls.dtype, rough.tokens.dtype) == (torch.float32, torch.float16)
    assert 0 < (rough.cls - exact.cls).abs().max() < 0.1


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(torch.zeros(1, 256, 256, 3, dtype=torch.float64), id="float64"),
        pytest.param(torch.zeros(1, 3, 256, 256, dtype=torch.uint8), id="channels_first"),
        pytest.param(torch.zeros(1, 256, 128, 3, dtype=torch.uint8), id="not_square"),
    ],
)
def test_images_that_are_not_square_and_8_bit_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ContractError, match="uint8"):
        encoder()(images)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"depth": 3}, "depth: expected 3 by the settings, found 2"),
        ({"dim": 64}, "dim: expected 64 by the settings, found 48"),
        ({"patch_px": 7}, "patch_px: expected 7 by the settings, found 14"),
    ],
)
def test_a_model_that_differs_from_the_settings_is_refused(update: dict[str, int], message: str) -> None:
    settings = small("h-optimus-0")
    assert settings.custom is not None
    wrong = settings.model_copy(update={"custom": settings.custom.model_copy(update=update)})

    with pytest.raises(ContractError, match=message):
        encoder(wrong)


def test_a_model_whose_norm_comes_after_pooling_is_refused() -> None:
    with pytest.raises(ContractError, match="final LayerNorm"):
        encoder(small("h-optimus-0", global_pool="avg"))


def test_matrices_stored_in_16_bits_give_the_tokens_of_autocast() -> None:
    settings = EncoderSettings(preset="tiny-vit", weights="random")
    features = FeaturesSettings(precision="bfloat16")
    stored, cast = load_encoder(settings, features, "cpu"), load_encoder(settings, features, "cpu")
    cast.model.float()

    ours, expected = stored(noise(2)), cast(noise(2))

    assert {weight.dtype for weight in stored.model.blocks[0].attn.parameters()} == {torch.bfloat16}  # type: ignore[index]
    assert stored.model.norm.weight.dtype == torch.float32
    assert torch.equal(ours.tokens, expected.tokens)
    assert torch.equal(ours.cls, expected.cls)


def test_attention_is_fused_in_every_block_whatever_the_environment_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.layers.config._USE_FUSED_ATTN", 0)

    vit = load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(), "cpu").model

    assert [block.attn.fused_attn for block in vit.blocks] == [True] * 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("weight", "message"), [(1e6, "float16 ends at 65504"), (torch.nan, r"set features\.precision")]
)
def test_tokens_that_float16_cannot_hold_are_an_error_with_a_fix(weight: float, message: str) -> None:
    frozen = encoder()
    frozen.model.norm.weight.fill_(weight)  # type: ignore[union-attr, operator]

    with pytest.raises(IntegrityError, match=message):
        frozen(noise(1))
