"""Text in the cells of tables."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a cell begins that a spreadsheet takes for a formula."""


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Examples
    --------
    >>> harmless("=1+1"), harmless("a.tif")
    ("'=1+1", 'a.tif')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def as_written(cell: str) -> str:
    """Return the text that `harmless` made a cell of."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell
