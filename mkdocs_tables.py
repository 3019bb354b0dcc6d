"""Tables of the pages that the code itself knows: mkdocs puts them in as it builds the site."""

from __future__ import annotations

from typing import Any

from fcp_runtime.outputs.kinds import OUTPUTS
from fcp_runtime.setting_rows import GROUPS
from fcp_runtime.settings import DEFAULTS, ROWS


def on_page_markdown(markdown: str, **_mkdocs: Any) -> str:
    """Return a page with each table in the place of its mark."""
    for name, table in (("outputs", outputs_table), ("settings", settings_table)):
        markdown = markdown.replace(f"<!-- table: {name} -->", table())
    return markdown


def settings_table() -> str:
    """Return a row for each setting, in Markdown, group by group as in ``fcp-run --help-all``."""
    lines = ["| setting | default | what it does |", "| --- | --- | --- |"]
    for group, title in GROUPS.items():
        lines.append(f"| **{title}** | | |")
        for name, row in ROWS.items():
            if row.group == group:
                shown = "by itself" if DEFAULTS[name] is None else f"`{DEFAULTS[name]}`"
                lines.append(f"| `{name}` | {shown} | {row.help} |")
    return "\n".join(lines)


def outputs_table() -> str:
    """Return a row for each kind of output, in Markdown."""
    rows = ["| option | what it is | suffixes | opened by |", "| --- | --- | --- | --- |"]
    for output in OUTPUTS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in output.suffixes)
        rows.append(f"| `{output.flag}` | {output.help} | {suffixes} | {output.opened_by} |")
    return "\n".join(rows)
