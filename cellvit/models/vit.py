"""Tokens of a timm vision transformer: CLS, and the patch tokens of one or more blocks."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from cellvit.config.presets import EncoderPreset
from cellvit.errors import ContractError, SettingsError


class VitTokens(nn.Module):
    """CLS and patch tokens of a vision transformer, after the final LayerNorm.

    The layout of the tokens (CLS, registers, patches) is read from the model. If the input is not of the size for which
    the weights were trained, timm interpolates the position embeddings.

    Departure from the authors' use: patch tokens of intermediate blocks go through the final LayerNorm as well.

    Shapes:
        prepared: (b, 3, s, s), s = the input size.
        returns: CLS of the last block (b, dim) and tokens (b, blocks, g, g, dim), g = s / patch.

    Raises:
        ContractError: The model is not a vision transformer, or not of the depth, width and patch of the settings.
        SettingsError: The model accepts no other input size than its own.
    """

    def __init__(self, model: nn.Module, spec: EncoderPreset, blocks: Sequence[int], input_px: int) -> None:
        super().__init__()
        _check(model, spec)
        set_input_size(model, input_px)
        self.model, self._blocks, self._grid = model, list(blocks), input_px // spec.patch_px

    def forward(
        self, prepared: Float32[Tensor, "b 3 s s"]
    ) -> tuple[Float[Tensor, "b dim"], Float[Tensor, "b blocks g g dim"]]:
        """CLS and tokens of prepared tiles."""
        final, grids = self.model.forward_intermediates(  # type: ignore[operator]
            prepared, indices=self._blocks, norm=True, output_fmt="NLC"
        )
        return final[:, 0], torch.stack(grids, dim=1).unflatten(2, (self._grid, self._grid))


def set_input_size(model: nn.Module, input_px: int) -> None:
    """Make a model that was built for one input size accept another.

    Raises:
        SettingsError: It cannot.
    """
    own: Sequence[int] = model.patch_embed.img_size  # type: ignore[union-attr, assignment]
    if tuple(own) == (input_px, input_px):
        return
    if not hasattr(model, "set_input_size"):
        raise SettingsError(
            f"features.input_px={input_px}: {type(model).__name__} needs {own[0]}. Fix: set it to {own[0]}"
        )
    model.set_input_size(img_size=(input_px, input_px))  # type: ignore[operator]


def _check(model: nn.Module, spec: EncoderPreset) -> None:
    if not all(
        hasattr(model, name) for name in ("forward_intermediates", "num_prefix_tokens", "blocks", "patch_embed")
    ):
        raise ContractError(
            f"encoder {spec.name}: expected a timm vision transformer with forward_intermediates, found "
            f"{type(model).__name__}. Fix: describe any other model by encoder.custom.levels, without depth and dim"
        )
    found = {"depth": len(model.blocks), "dim": model.embed_dim, "patch_px": model.patch_embed.patch_size[0]}  # type: ignore[arg-type, union-attr, index]
    expected = {key: getattr(spec, key) for key in found}
    differing = (key for key in found if found[key] != expected[key])
    wrong = [f"{key}: expected {expected[key]} by the settings, found {found[key]}" for key in differing]
    if getattr(model, "cls_token", None) is None:
        wrong.append("CLS token: expected one, found none")
    if not isinstance(getattr(model, "norm", None), nn.LayerNorm):
        wrong.append("final LayerNorm before the pooling: found none; set arguments.global_pool to an empty text")
    if wrong:
        raise ContractError(f"encoder {spec.name}: the model differs from the settings.\n  " + "\n  ".join(wrong))
