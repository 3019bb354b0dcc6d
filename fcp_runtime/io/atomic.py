"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fcp_runtime.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for whoever holds the old file open: Windows lets nobody replace such a file."""

REASONS = {
    errno.ENOSPC: "the disk is full",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up",
    errno.EROFS: "the folder is read-only",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
    errno.ENAMETOOLONG: "the name is too long",
}


LEFT_BEHIND = re.compile(r"\.fcp-[0-9a-f]{8}(\.\w+){0,2}")
"""Names of temporary files."""

OLD = 24 * 3600
"""Seconds after which a temporary file belongs to no run any more."""


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files in a folder that a killed run left there more than a day ago.

    Returns
    -------
    list of Path
        The files removed. What cannot be removed stays, without an error.
    """
    removed = []
    with suppress(OSError):
        for file in list(folder.iterdir()):
            with suppress(OSError):
                about = file.lstat()
                ours = LEFT_BEHIND.fullmatch(file.name) and stat.S_ISREG(about.st_mode)
                if ours and time.time() - about.st_mtime > OLD:
                    file.unlink()
                    removed.append(file)
    return removed


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; at the end, the file there takes its place.

    Where the block fails or is interrupted, the temporary file is removed and what was at ``path``
    stays. The file gets the permissions of any new file, and the suffixes of ``path``
    (``.ome.tif``). A link is followed.

    Parameters
    ----------
    path : path-like
        The file to write or replace. Its folder must exist.

    Yields
    ------
    Path
        An empty file to write; it must be closed when the block ends.

    Raises
    ------
    OutputError
        If the folder is missing or cannot be written, ``path`` is a folder or a device, or the
        system refuses to write (a full disk).
    """
    target = Path(os.path.realpath(path))
    try:
        _check(path, target)
        temporary = _reserve(target)
        try:
            yield temporary
            _replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or str(error))
        raise OutputError(f"{path}: cannot be written: {reason}") from error


def _check(path: str | os.PathLike[str], target: Path) -> None:
    """Refuse a missing folder, and a target that is no plain file."""
    if not target.parent.is_dir():
        raise OutputError(f"{path}: the folder {target.parent} does not exist; make it first")
    if target.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: is a device, not a file; give the name of a file")


def _reserve(target: Path) -> Path:
    """Make an empty file of an unused name beside ``target``, with the permissions of a new file."""
    suffixes = "".join(target.suffixes[-2:])
    while True:
        temporary = target.with_name(f".fcp-{secrets.token_hex(4)}{suffixes}")
        try:
            temporary.touch(exist_ok=False)
        except FileExistsError:
            continue
        return temporary


def _replace(temporary: Path, target: Path) -> None:
    """Put ``temporary`` in the place of ``target``, waiting a little for other readers of it."""
    for wait in WAITS:
        try:
            temporary.replace(target)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    temporary.replace(target)
