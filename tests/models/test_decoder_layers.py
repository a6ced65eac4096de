import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cellvit.config.models import DecoderSettings
from cellvit.models.decoder_layers import ImagePyramid, TokenProjection, UpsamplingStage

DIM, WIDTH = 12, 8


def projection(blocks: int = 1, **options) -> TokenProjection:
    torch.manual_seed(0)
    return TokenProjection(DIM, blocks, DecoderSettings(widths=(WIDTH, 4, 4, 4, 4), **options))


def tokens_of(n: int = 3, blocks: int = 1) -> torch.Tensor:
    return torch.randn(n, blocks, 4, 4, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [True, False])
def test_one_block_is_projected_as_by_one_convolution_with_normalisation_relu_and_dropout(training):
    ours = projection(dropout=0.5).train(training)
    convolution, norm = ours.project
    reference = nn.Sequential(convolution, norm, nn.ReLU(), nn.Dropout2d(0.5)).train(training)
    tokens = tokens_of()

    torch.manual_seed(2)
    found = ours(tokens)
    torch.manual_seed(2)
    expected = reference(tokens[:, 0].permute(0, 3, 1, 2))

    assert torch.equal(found, expected)


def test_blocks_are_projected_one_by_one_and_summed_before_the_relu():
    ours, tokens = projection(blocks=3, dropout=0).train(), tokens_of(blocks=3)
    weights = ours.project[0].weight.chunk(3)

    parts = [F.conv2d(tokens[:, at].permute(0, 3, 1, 2), weight) for at, weight in enumerate(weights)]
    expected = F.relu(sum(F.batch_norm(part, None, None, training=True) for part in parts))

    torch.testing.assert_close(ours(tokens), expected)


def test_the_spread_of_one_block_does_not_drown_the_others():
    ours, tokens = projection(blocks=2, dropout=0).train(), tokens_of(blocks=2)
    larger = tokens * torch.tensor([1.0, 100.0]).view(1, 2, 1, 1, 1)

    torch.testing.assert_close(ours(larger), ours(tokens), rtol=1e-3, atol=1e-3)


def test_normalised_tokens_forget_their_mean_and_scale():
    ours, tokens = projection(token_norm="layer").eval(), tokens_of()

    found, expected = ours(7 * tokens + 3), ours(tokens)

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(projection().eval()(7 * tokens + 3), expected, atol=0.1)


def test_dropout_of_tokens_takes_whole_channels_from_a_tile_in_training_alone():
    ours, tokens = projection(token_dropout=0.5, blocks=2), torch.ones(16, 2, 4, 4, DIM)
    read: list[torch.Tensor] = []
    ours.project.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))

    ours.train()(tokens)
    ours.eval()(tokens)

    in_training, in_prediction = read
    values = in_training[:, :, 0, 0]  # (16, 2 * DIM)
    assert torch.equal(in_training, values[:, :, None, None].expand_as(in_training))
    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert len({tuple(row.tolist()) for row in values}) > 1
    assert torch.equal(in_prediction, torch.ones_like(in_prediction))


def test_maps_stay_with_channels_last_in_memory():
    found = projection(blocks=2).to(memory_format=torch.channels_last)(tokens_of(blocks=2))

    assert found.is_contiguous(memory_format=torch.channels_last)


def test_pixel_shuffle_starts_as_nearest_upsampling_of_a_convolution():
    stage, x = UpsamplingStage(16, 6, 0, 4, upsampling="pixel_shuffle"), torch.randn(2, 6, 8, 8)

    stage.start_as_nearest()

    of_cells = F.conv2d(x, stage.pixels.weight[::4])
    torch.testing.assert_close(stage.upsampled(x), F.interpolate(of_cells, scale_factor=2, mode="nearest"))


def test_bilinear_upsampling_is_that_of_torch_at_any_size():
    stage, x = UpsamplingStage(16, 6, 0, 4, upsampling="bilinear"), torch.randn(2, 6, 9, 9)

    assert torch.equal(stage.upsampled(x), F.interpolate(x, size=(16, 16), mode="bilinear"))


def test_the_gradient_of_an_upsampled_map_has_no_gaps_in_memory(monkeypatch):
    stage = UpsamplingStage(16, 6, 4, 5, upsampling="bilinear").to(memory_format=torch.channels_last)
    x, of_image = torch.randn(2, 6, 8, 8, requires_grad=True), {16: torch.randn(2, 4, 16, 16)}
    upsampled = stage.upsampled(x)
    monkeypatch.setattr(stage, "upsampled", lambda _: upsampled)

    maps = stage(x, of_image)
    gradients: list[torch.Tensor] = []
    upsampled.register_hook(gradients.append)  # after that of the stage
    maps.square().sum().backward()

    (gradient,) = gradients
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_a_residual_level_adds_its_input_to_two_convolutions():
    pyramid = ImagePyramid((4, 6), residual=True).eval()
    (level,) = pyramid.coarser
    nn.init.zeros_(level.convolutions[-1].weight)  # now the two convolutions give zero
    image = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)

    features = pyramid(image)

    _, convolution, norm = level.shortcut
    shortcut = F.conv2d(F.avg_pool2d(features[256], 2), convolution.weight) / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(features[128], F.relu(shortcut))


def stained_tile(*, seed: int = 0) -> torch.Tensor:
    """(1, 3, 256, 256) RGB in 0..255, with the spread of stained tissue."""
    noise = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(seed))
    return (150 + 40 * noise).clamp(0, 255)


@pytest.mark.parametrize("norm", ["fixed", "tile"])
def test_colours_of_the_tile_itself_make_stains_and_scanners_look_alike(norm):
    torch.manual_seed(0)
    pyramid, tile = ImagePyramid((4, 6), norm=norm).eval(), stained_tile()
    gain, offset = torch.tensor([0.6, 0.8, 0.7]).view(1, 3, 1, 1), torch.tensor([60.0, 10.0, 30.0]).view(1, 3, 1, 1)

    found, paler = pyramid(tile), pyramid(gain * tile + offset)

    for px in (256, 128):
        assert torch.allclose(found[px], paler[px], atol=1e-4) == (norm == "tile")


def test_scaled_by_its_own_colours_a_tile_does_not_depend_on_the_others_of_its_batch():
    torch.manual_seed(0)
    pyramid, tiles = ImagePyramid((4, 6), norm="tile").eval(), [stained_tile(seed=seed) for seed in (0, 1)]

    together, alone = pyramid(torch.cat([tiles[0], 0.5 * tiles[1]])), pyramid(tiles[0])

    torch.testing.assert_close(together[128][:1], alone[128])


def test_the_noise_of_an_empty_tile_does_not_look_like_tissue():
    torch.manual_seed(0)
    pyramid = ImagePyramid((4, 6), norm="tile").eval()
    noise = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    read: list[torch.Tensor] = []
    pyramid.full.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))

    pyramid(243 + noise)  # the glass of a slide: noise of one grey value

    assert read[0].std() < 0.1
    assert read[0].mean().abs() < 1e-3
