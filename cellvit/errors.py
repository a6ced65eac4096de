"""Errors that a user can fix: where, what, expected, found, and the fix."""


class CellvitError(Exception):
    """Base class of the errors that the command line shows without a traceback."""


class SettingsError(CellvitError):
    """A setting is unknown, is outside its limits, or contradicts another."""


class MissingInputError(CellvitError):
    """A file, weights, a token or a device that the step needs does not exist."""


class ContractError(CellvitError):
    """Data or a file is not as specified: name, shape, dtype, range or version."""


class StaleFileError(CellvitError):
    """A file was made from other inputs or settings than those that its reader expects."""


class IntegrityError(CellvitError):
    """An integrity check failed: values computed from this data would be wrong."""


class TrainingDivergedError(CellvitError):
    """The loss or the gradient is not finite."""


class AbsentModelError(CellvitError):
    """This model could not be trained; its checkpoint records the reason."""


class BusyFolderError(CellvitError):
    """Another run, job or process is using the folder or file."""
