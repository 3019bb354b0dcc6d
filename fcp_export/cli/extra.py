"""What both commands need and the runtime does not have."""

from __future__ import annotations

from fcp_runtime.errors import MissingExtraError


def need_extra(command: str) -> None:
    """Refuse to go on without the packages of the extra ``export``.

    Parameters
    ----------
    command : str
        Name of the command, for the message.

    Raises
    ------
    MissingExtraError
        Names the extra to install.
    """
    try:
        import matplotlib  # noqa: F401, ICN001
        import onnx  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'{command} needs {error.name}: pip install "fastercellpose[export]"'
        ) from error
