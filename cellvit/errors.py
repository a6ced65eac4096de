"""Errors that a user can act on: what and where, expected, found, what to do."""


class CellvitError(Exception):
    """Base of every error that the command line shows without a traceback."""


class SettingsError(CellvitError):
    """A setting is unknown, out of its limits or contradicts another."""


class MissingInputError(CellvitError):
    """A file, weights, a token or a device that the step needs is not there."""


class ContractError(CellvitError):
    """Data or a file breaks its contract: name, shape, dtype, range or version."""


class StaleFileError(CellvitError):
    """A file was made from other inputs or settings than the step that reads it expects."""


class IntegrityError(CellvitError):
    """An integrity gate failed: figures made from this data would be wrong."""


class TrainingDivergedError(CellvitError):
    """A loss or gradient is not finite."""


class AbsentModelError(CellvitError):
    """The checkpoint says that this model could not be trained, and why."""


class BusyFolderError(CellvitError):
    """Another run, job or process works in the folder, or may."""
