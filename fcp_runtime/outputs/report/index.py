"""The page that lists the reports of a batch: those to be checked first."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.report.template import page

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

HEAD = 200_000
"""Characters of a page within which its facts stand."""
LONG = ("input", "error")
"""Columns of the index that may be broken anywhere."""


@dataclass(frozen=True)
class PageFacts:
    """What a report says of itself to the page that lists it.

    Attributes
    ----------
    checks : int
        Objects and warnings to be looked at.
    picture : str
        Address of a small picture.
    """

    checks: int
    picture: str

    def head(self) -> str:
        """Return the lines of the page's head that `read_facts` finds."""
        return (
            f'<meta name="fcp-checks" content="{self.checks}">\n'
            f'<link rel="icon" href="{self.picture}">\n'
        )


def read_facts(path: str | os.PathLike[str]) -> PageFacts | None:
    """Return what a report says of itself; None of a page that says nothing."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        head = file.read(HEAD)
    checks = re.search(r'<meta name="fcp-checks" content="([0-9]+)">', head)
    picture = re.search(r'<link rel="icon" href="(data:image/jpeg;base64,[^"]+)">', head)
    if checks is None or picture is None:
        return None
    return PageFacts(int(checks[1]), picture[1])


def write_index(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, str]],
    facts: Mapping[str, PageFacts] | None = None,
) -> None:
    """Write the page that lists reports: failed inputs first, then those with most to be checked.

    Parameters
    ----------
    path : path-like
    rows : sequence of mapping of str to str
        A row per input, all with the same keys: columns of the list. ``link``, which is no column,
        is the address of its report or empty; ``status`` may be ``"failed"``; ``input`` is shown
        without its folders.
    facts : mapping of str to PageFacts, or None
        What reports say of themselves, by ``link``.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    facts = facts or {}
    names = [name for name in (rows[0] if rows else ()) if name != "link"]
    failed = sum(row["status"] == "failed" for row in rows)
    looked = sum(found.checks > 0 for found in facts.values())
    heads = "".join(
        f"<th>{escape(name)}</th>" for name in (*names[:1], "to be checked", *names[1:])
    )
    order = sorted(rows, key=lambda row: _urgency(row, facts.get(row["link"])))
    lines = [_line(row, names, facts.get(row["link"])) for row in order]
    body = [
        "<h1>Segmented images</h1>",
        f'<p class="lead">{len(rows)} inputs, {failed} failed, {looked} to be checked</p>',
        f'<div class="wide"><table><tr>{heads}</tr>{"".join(lines)}</table></div>',
        footer(),
    ]
    save_page(path, page("Segmented images", "\n".join(body)))


def _urgency(row: Mapping[str, str], found: PageFacts | None) -> tuple[bool, int]:
    return row["status"] != "failed", -(found.checks if found else 0)


def _line(row: Mapping[str, str], names: Sequence[str], found: PageFacts | None) -> str:
    """Return the row of one input."""
    cells = {name: escape(row[name]) for name in names}
    if "input" in cells:
        cells["input"] = escape(Path(row["input"]).name)
    picture = f'<img alt="" src="{found.picture}">' if found else ""
    first = picture + cells[names[0]]
    if row["link"]:
        first = f'<a href="{escape(row["link"])}">{first}</a>'
    values = {names[0]: first}
    values["to be checked"] = str(found.checks) if found else ""
    values |= {name: cells[name] for name in names[1:]}
    kind = "failed" if row["status"] == "failed" else "look" if found and found.checks else ""
    tags = ['<td class="long">' if name in LONG else "<td>" for name in values]
    line = "".join(f"{tag}{cell}</td>" for tag, cell in zip(tags, values.values(), strict=True))
    return f'<tr class="{kind}">{line}</tr>'


def save_page(path: str | os.PathLike[str], text: str) -> None:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def footer() -> str:
    """Return the last line of a page: program, version and time."""
    from importlib.metadata import version

    return (
        f"<footer>fcp-run {version('fastercellpose')}, {time.strftime('%Y-%m-%d %H:%M')}</footer>"
    )
