"""What a file was made from: the record that every product carries."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import cellvit


class Provenance(BaseModel):
    """Origin of a file; equal inputs and settings give an equal record (no time, no machine).

    Attributes:
        made_from: Digest of the content of every input, by its path from the folder of the file itself, so that a
            results folder can be moved. Data from outside the results have the names that the step gives them.
        simulated: True where any data upstream are simulated.
        untrained_encoder: True where features upstream come from random weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_from: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    simulated: bool = False
    untrained_encoder: bool = False
    software: str = f"cellvit-optimus {cellvit.__version__}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What must be shown beside every value that comes from this: simulated data, untrained encoder."""
        named = (("simulated data", self.simulated), ("untrained encoder", self.untrained_encoder))
        return tuple(name for name, holds in named if holds)
