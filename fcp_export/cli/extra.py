"""What both commands need and the runtime does not have."""

from __future__ import annotations

import importlib

from fcp_runtime.errors import MissingExtraError


def need_extra(command: str, *modules: str) -> None:
    """Refuse to go on without packages of the extra ``export``.

    Parameters
    ----------
    command : str
        Name of the command, for the message.
    *modules : str
        What it imports later.

    Raises
    ------
    MissingExtraError
        Names the extra to install.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'{command} needs {error.name}: pip install "fastercellpose[export]"'
        ) from error
