"""cellvit-optimus: nuclei segmented and typed from the features of a frozen foundation model."""

import warnings

from cellvit.namesake import namesake

__version__ = "0.1.0"

if _other := namesake():
    warnings.warn(_other.message, stacklevel=2)
