"""Every failure a user can meet: what is wrong, with which file, and what to do."""


class FcpError(Exception):
    """A failure that the user can mend; its message is one line and complete."""


class InputError(FcpError):
    """An image, label file or manifest cannot be used."""


class ModelError(FcpError):
    """A model is unknown, damaged or has the wrong form."""


class SettingsError(FcpError, ValueError):
    """An option has an impossible value, or options contradict each other."""


class OutputError(FcpError):
    """A result cannot be written."""


class MachineError(FcpError):
    """The machine, or a limit set for this process, does not grant what the work needs."""


class MissingExtraError(FcpError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


class FcpWarning(UserWarning):
    """The result is usable, but the user should know something about it."""
