"""Tables of the pages that the code itself knows: mkdocs puts them in as it builds the site."""

from __future__ import annotations

from typing import Any

from fcp_runtime.outputs.kinds import OUTPUTS

MARK = "<!-- table: outputs -->"


def on_page_markdown(markdown: str, **_mkdocs: Any) -> str:
    """Return a page with the table of outputs in the place of its mark."""
    return markdown.replace(MARK, outputs_table())


def outputs_table() -> str:
    """Return a row for each kind of output, in Markdown."""
    rows = ["| option | what it is | suffixes | opened by |", "| --- | --- | --- | --- |"]
    for output in OUTPUTS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in output.suffixes)
        rows.append(f"| `{output.flag}` | {output.help} | {suffixes} | {output.opened_by} |")
    return "\n".join(rows)
