"""What a file was made from."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import cellvit


class Provenance(BaseModel):
    """Origin of a file; equal inputs and settings give an equal record (no time, no machine).

    Attributes:
        made_from: Content hash (sha256) of every input by name.
        settings: Settings of the step that made the file.
        simulated: True where any data behind it are simulated.
        untrained_encoder: True where features behind it come from random weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_from: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    simulated: bool = False
    untrained_encoder: bool = False
    software: str = f"cellvit-optimus {cellvit.__version__}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What must stand beside every figure that comes from this: simulated data, untrained encoder."""
        named = (("simulated data", self.simulated), ("untrained encoder", self.untrained_encoder))
        return tuple(name for name, holds in named if holds)
