"""Libraries that only some outputs need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fcp_runtime.errors import MissingExtraError


def load_extra(module: str, purpose: str, *, extra: str = "lab") -> Any:
    """Return an optional library.

    Parameters
    ----------
    module : str
        Name to import.
    purpose : str
        What needs it, for the message.
    extra : str
        The extra of this project that brings it.

    Raises
    ------
    MissingExtraError
        If it cannot be imported; the message says why and names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".", 1)[0]
        raise MissingExtraError(
            f"{purpose} needs {package} ({error}); "
            f"install it with: pip install 'fastercellpose[{extra}]'"
        ) from error
