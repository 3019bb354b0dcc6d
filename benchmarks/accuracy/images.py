"""The images to score: rows of manifests, with what tells one result from another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcp_runtime.errors import SettingsError
from fcp_runtime.evaluate.manifest import group_of
from fcp_runtime.evaluate.runner import choose_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fcp_runtime.evaluate.manifest import Row


@dataclass(frozen=True)
class Item:
    """One image with truth.

    Attributes
    ----------
    row : Row
    key : str
        Split, source and file: its name in results and tables.
    source : str
        The row's source; images with incomplete truth stand apart from the others of theirs.
    group : str
        Images of one group are no independent evidence.
    digest : str
        Changes with the files, and with the row's diameter, anisotropy and size of fragments.
    """

    row: Row
    key: str
    source: str
    group: str
    digest: str


def choose_items(
    rows: Sequence[Row],
    splits: Iterable[str],
    *,
    limit: int | None = None,
    without: Collection[str] = (),
) -> list[Item]:
    """Return the images with truth of some splits, at most ``limit`` of each source.

    Raises
    ------
    SettingsError
        If a split does not occur, or no image is left.
    InputError
        If a file is missing.
    """
    kept = [row for split in splits for row in choose_rows(rows, split, limit=limit)]
    items = [_item(row) for row in kept if row.label is not None and row.source not in without]
    if not items:
        raise SettingsError("no image with a label file is left to evaluate")
    return items


def _item(row: Row) -> Item:
    row.check_files()
    digest = hashlib.sha256(f"{row.diameter_px} {row.anisotropy} {row.fragment_voxels}".encode())
    for path in (row.image, row.label):
        if path is not None:
            digest.update(path.read_bytes())
    return Item(
        row,
        f"{row.split}/{row.source}/{row.image.name}",
        f"{row.source} (recall only)" if row.recall_only else row.source,
        group_of(row),
        digest.hexdigest()[:16],
    )
