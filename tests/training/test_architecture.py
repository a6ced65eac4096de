"""The architecture that a checkpoint stores."""

import json

import pytest

from cellvit.config.models import DecoderSettings
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.hovernet import architecture_of

SMALL = {"widths": [8, 8, 8, 4, 2], "stem_widths": [4, 6, 8]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_stem": "none"},
        {"image_stem": "rgb_residual", "trunk": "branches", "image_norm": "tile"},
        {"upsampling": "pixel_shuffle", "token_norm": "layer", "token_dropout": 0.25, "dropout": 0.5},
    ],
    ids=["default", "no_image", "residual_branches", "pixel_shuffle_regularised"],
)
def test_every_setting_of_the_decoder_is_stored_and_gives_the_same_layers(family_data, changes):
    settings = DecoderSettings.model_validate(SMALL | changes)

    stored = json.loads(json.dumps(architecture_of(settings, family_data.features, 5)))

    options = {name: value for name, value in stored.items() if name not in ("dim", "blocks", "grid", "n_classes")}
    assert DecoderSettings.model_validate(options) == settings
    rebuilt, expected = HoVerNetDecoder(**stored), HoVerNetDecoder(4, **SMALL | changes)
    assert str(rebuilt) == str(expected)
    assert rebuilt.project.token_norm == settings.token_norm
