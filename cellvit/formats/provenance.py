"""What a file was made from: the record that every product carries."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import cellvit
from cellvit.errors import ContractError
from cellvit.formats.dataset import DataSet


class Provenance(BaseModel):
    """Origin of a file; equal inputs and settings give an equal record (no time, no machine).

    Attributes:
        made_from: Digest of the content of every input, by its path from the folder of the file itself, so that a
            results folder can be moved. Data from outside the results have the names that the step gives them.
        data_set: The data set of the tiles upstream; None where there are none.
        simulated: True where any data upstream are simulated.
        encoder_mark: What must be said of the encoder upstream: that it is untrained, or trained on other images than
            pathology; empty where there is nothing to say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_from: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    data_set: DataSet | None = None
    simulated: bool = False
    encoder_mark: str = ""
    software: str = f"cellvit-optimus {cellvit.__version__}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What must be shown beside every value that comes from this: simulated data, the mark of the encoder."""
        return tuple(mark for mark in ("simulated data" * self.simulated, self.encoder_mark) if mark)

    @property
    def dataset(self) -> DataSet:
        """The data set of the tiles upstream.

        Raises:
            ContractError: The record names none.
        """
        if self.data_set is None:
            raise ContractError(
                "provenance: the data set of the tiles is not recorded. Fix: make the file again (snakemake --forceall)"
            )
        return self.data_set
