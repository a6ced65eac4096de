"""Settings of a run that fine-tunes a decoder of a bundle on a data set of your own."""

from pathlib import Path
from typing import Any, Final

import yaml

from cellvit.formats.bundle import Bundle
from cellvit.formats.checkpoints import read_header

FINETUNING: Final = "finetune.yaml"
"""Name of the file, beside `dataset.yaml`."""

TRAINING: Final = {
    "steps": 200,
    "batch_size": 4,
    "learning_rate": 3.0e-4,
    "record_every": 20,
    "validate_every": 20,
}
"""A short training (measured on slides of other laboratories, docs/corrections.md): a tenth of this learning rate with four times the
tiles gained a little less and took 2.4 times as long. The validation chooses among the start and ten measurements."""

_DECODER: Final = "decoder"


def finetuning_yaml(bundle: Bundle, data: Path, organ: str) -> str:
    """The text of a settings file, over config.yaml: encoder, decoder and start are those of the bundle.

    Args:
        data: Folder of the data set.
        organ: Organ of its tissue, whose decoder is the start; the default decoder of the bundle if it is empty or unknown.
    """
    document = bundle.document
    start = bundle.decoders[document.decoder_of.get(organ, document.default_decoder)].checkpoint
    decoder = read_header(start).provenance.settings.get(_DECODER)
    settings: dict[str, Any] = {
        "data": {"root": str(data), "mpp": document.dataset.mpp},
        "results": f"results_{data.resolve().name}",
        "families": None,
        **document.encoder,
        **({_DECODER: decoder} if decoder else {}),
        "training": {"start_from": str(start), **TRAINING},
    }
    return (
        f"# Settings that fine-tune the models {document.name}, over config.yaml (docs/corrections.md).\n"
        "# Encoder, features and decoder must stay as they are: they are those of the models.\n"
        + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
    )
