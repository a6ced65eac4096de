"""Headers of checkpoints, read without weights and without torch."""

import json
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from cellvit.contracts.documents import CheckpointHeader
from cellvit.errors import ContractError, MissingInputError

HEADER_KEY: Final = "cellvit"
"""Key of the header in the metadata of a safetensors file."""


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without loading weights.

    Raises:
        MissingInputError: There is no file.
        ContractError: It is no checkpoint of this project.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Train it: snakemake -- {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})[HEADER_KEY]
        return CheckpointHeader.model_validate(json.loads(text))
    except (SafetensorError, KeyError, ValidationError, json.JSONDecodeError) as error:
        raise ContractError(
            f"{path}: is no checkpoint of cellvit-optimus ({error}). Train it again: rm {path} && snakemake -- {path}"
        ) from error
