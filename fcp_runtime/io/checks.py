"""Refuse what is no file to read, and say in one line what is wrong with one."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from fcp_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = "copy or export it again"
START = 16
"""Bytes at the beginning of a file that tell its format."""


def first_bytes(path: Path, name: str) -> bytes:
    """Return the first bytes of a plain file.

    Raises
    ------
    InputError
        If it is missing, empty, a folder, a pipe or a device (which may never end), or unreadable.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{name}: is a folder, not an image")
        if not stat.S_ISREG(mode):
            raise InputError(f"{name}: is a pipe or a device, not a file; save it as a file first")
        with path.open("rb") as file:
            start = file.read(START)
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file") from error
    except PermissionError as error:
        raise InputError(f"{name}: may not be read; change its permissions") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({one_line(error)})") from error
    if not start:
        raise InputError(f"{name}: is empty (0 bytes); {AGAIN}")
    return start


def cut_short(name: str, size: int, needed: int) -> InputError:
    """Say that a file ends too early."""
    return InputError(
        f"{name}: is cut short ({size:,} bytes where its header needs {needed:,}); {AGAIN}"
    )


def damaged(name: str, cause: str | Exception) -> InputError:
    """Say that a file contradicts itself."""
    return InputError(f"{name}: is damaged or cut short ({one_line(cause)}); {AGAIN}")


def one_line(cause: str | Exception) -> str:
    """Return what a library said as one line of at most 150 characters, without ``<objects>``."""
    text = " ".join(re.sub(r"<[^<>]*>", "", str(cause)).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return (text if len(text) <= 150 else f"{text[:147]}...") or type(cause).__name__
