"""cellvit-optimus: nuclei segmented and typed from the features of a frozen foundation model."""

__version__ = "0.1.0"
